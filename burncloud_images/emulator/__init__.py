"""
The images API served on this machine, with scripted faults and a ledger of what was billed.

    async with Emulator(faults=[Fault(status=429, retry_after=0.2)]) as emulator:
        ...  # point any client at emulator.base_url with emulator.api_key
    assert emulator.ledger.billed_images == 1

It shares no code with the client that it tests, except the reader of image headers and the names of the phases.
"""

from burncloud_images.emulator.faults import Fault
from burncloud_images.emulator.ledger import Ledger, LedgerEntry, ReceivedFile, ResultDownload, TaskPoll
from burncloud_images.emulator.server import Emulator, UnfiredFaultWarning

__all__ = [
    "Emulator",
    "Fault",
    "Ledger",
    "LedgerEntry",
    "ReceivedFile",
    "ResultDownload",
    "TaskPoll",
    "UnfiredFaultWarning",
]
