"""Warnings about models that have been shut down, or are soon, before anything is bought."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime

from burncloud_images.client import MODEL_VARIABLES, from_environment
from burncloud_images.errors import show_warning
from burncloud_images.model.retirements import find_retirement
from burncloud_images.results import ModelInfo


def warn_of_retired(models: Iterable[str | None]) -> None:
    """
    Warn of each of *models* that has ended or ends soon; None is the one that the environment names.

    The client warns in the same words when such a model is asked for, and of equal warnings one is shown.
    """
    today = to_today()
    for model in models:
        ending = find_retirement(model or from_environment(MODEL_VARIABLES) or "", today)
        if ending is not None:
            show_warning(f"{ending.describe(today)}.")


def find_endings(models: Iterable[ModelInfo]) -> Iterator[str]:
    """Yield a clause for each model of the server's list that has ended or ends soon, by its own date first."""
    today = to_today()
    for model in models:
        if (ending := find_retirement(model.id, today, model.shutdown_date)) is not None:
            yield ending.describe(today)


def to_today() -> date:
    return datetime.now(UTC).date()
