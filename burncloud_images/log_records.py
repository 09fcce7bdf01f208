"""Log records; all are written by the logger `burncloud_images`."""

from __future__ import annotations

import logging


def log_warning(message: str, **facts: object) -> None:
    """
    Log a call that cost or may have cost money, if that cannot be raised to a caller.

    Args:
        message: One sentence or a few.
        facts: Attributes of the record; never the key, addresses or prompts.
    """
    logging.getLogger("burncloud_images").warning("%s", message, extra=facts)
