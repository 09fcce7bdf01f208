"""Warnings about models that have been shut down, or are soon: once for each model of a client."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import attrs

from burncloud_images.errors import show_warning
from burncloud_images.model.retirements import find_retirement
from burncloud_images.results import ModelInfo


@attrs.define
class RetirementWarnings:
    """
    What a client and its copies have said.

    Attributes:
        shutdown_dates: What the server's list of models said, if it was asked for.
        checked: Models for which there is nothing more to say.
    """

    shutdown_dates: dict[str, str] = attrs.field(factory=dict)
    checked: set[str] = attrs.field(factory=set)
    warned: set[str] = attrs.field(factory=set)

    def learn(self, models: Iterable[ModelInfo]) -> None:
        """Remember the dates of a list of models."""
        for model in models:
            if model.shutdown_date and model.shutdown_date != self.shutdown_dates.get(model.id):
                self.shutdown_dates[model.id] = model.shutdown_date
                self.checked.discard(model.id)

    def warn(self, model: object, today: date) -> None:
        """Warn of *model* before it is asked for; never twice, and never as an error."""
        if not isinstance(model, str) or model in self.checked:
            return
        self.checked.add(model)
        ending = find_retirement(model, today, self.shutdown_dates.get(model))
        if ending is not None and model not in self.warned:
            self.warned.add(model)
            show_warning(f"{ending.describe(today)}.", stacklevel=4)
