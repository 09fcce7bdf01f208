"""Records of the log, all of the logger `burncloud_images`."""

from __future__ import annotations

import logging


def log_warning(message: str, **facts: object) -> None:
    """
    Log what costs or may cost money and cannot be raised to a caller.

    Args:
        message: One sentence or a few.
        facts: Attributes of the record. The key, addresses and prompts are none.
    """
    logging.getLogger("burncloud_images").warning("%s", message, extra=facts)
