"""Warnings about models that have been shut down, or are soon, before anything is bought."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from burncloud_images.cli.reporting import Reporter
from burncloud_images.client import MODEL_VARIABLES, from_environment
from burncloud_images.model.retirements import find_retirement


def warn_of_retired(models: Iterable[str | None], reporter: Reporter) -> None:
    """Report each of *models* that has ended or ends soon; None is the one that the environment names."""
    today = datetime.now(UTC).date()
    for model in models:
        ending = find_retirement(model or from_environment(MODEL_VARIABLES) or "", today)
        if ending is not None:
            reporter.note(ending.describe(today))
