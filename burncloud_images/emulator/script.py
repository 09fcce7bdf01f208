"""The script: which fault meets which request."""

from __future__ import annotations

import random
from collections.abc import Iterable

from burncloud_images.emulator.faults import BILLABLE, Fault


class Script:
    """Deals out faults, in the order in which they were written, one to a request."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self.faults = tuple(faults)
        self.left = [fault.times for fault in self.faults]
        # A fixed seed: the same requests in the same order meet the same faults.
        self.random = random.Random(20250426)  # noqa: S311

    @property
    def unfired(self) -> tuple[Fault, ...]:
        """The faults that still wait for a request, except those that may strike for ever."""
        return tuple(fault for fault, left in zip(self.faults, self.left, strict=True) if left)

    def draw(self, operation: str) -> Fault | None:
        """Return the fault for a request that has just arrived, if there is one."""
        for index, fault in enumerate(self.faults):
            wanted = operation in BILLABLE if fault.operation is None else operation == fault.operation
            left = self.left[index]
            if not wanted or left == 0 or (fault.probability < 1 and self.random.random() >= fault.probability):
                continue
            if left is not None:
                self.left[index] = left - 1
            return fault
        return None

    def put_back(self, fault: Fault) -> None:
        """Take back a fault whose request was refused before it could strike."""
        for index, other in enumerate(self.faults):
            left = self.left[index]
            if other is fault and left is not None:
                self.left[index] = left + 1
