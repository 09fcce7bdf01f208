"""The API document as a judge, as it is published and with what is newer."""

from __future__ import annotations

import pytest
from contract.judge import Judge, amend


@pytest.fixture(scope="session")
def published(contract) -> Judge:
    """Judge by the document alone, whose objects take any further key."""
    return Judge(contract)


@pytest.fixture(scope="session")
def judge(contract) -> Judge:
    """Judge by the document and what is newer, and by nothing else: unknown keys are wrong."""
    return Judge(amend(contract))
