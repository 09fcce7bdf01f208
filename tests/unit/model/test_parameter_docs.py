"""`help()` shows every parameter of a request, with its description and a plain type."""

from __future__ import annotations

import inspect
import pydoc

import pytest

from burncloud_images import AsyncImagesClient, EditRequest, GenerationRequest, VariationRequest
from burncloud_images.model.parameter_docs import describe_parameters, with_parameters

VERBS = [
    (AsyncImagesClient.generate, GenerationRequest),
    (AsyncImagesClient.edit, EditRequest),
    (AsyncImagesClient.create_variation, VariationRequest),
]
DOCUMENTED = [*VERBS, *((owner, owner) for _, owner in VERBS)]
NAMES = ["generate", "edit", "create_variation", "GenerationRequest", "EditRequest", "VariationRequest"]


@pytest.mark.parametrize(("shown", "request_class"), DOCUMENTED, ids=NAMES)
def test_help_describes_every_parameter_once(shown, request_class):
    """The entries are in the order of the signature, those of the base classes among them."""
    lines = inspect.cleandoc(shown.__doc__).splitlines()
    entries = [line.strip().partition(":")[0] for line in lines if line.startswith("    ") and line[4] != " "]

    assert [*inspect.signature(request_class).parameters] == [name for name in entries if name != "ImagesError"]
    assert 1 == lines.count("Args:")


@pytest.mark.parametrize(("shown", "request_class"), DOCUMENTED, ids=NAMES)
def test_descriptions_are_those_of_the_classes(shown, request_class):
    """Nothing of a description is lost, over however many lines it goes."""
    for name, description in describe_parameters(request_class).items():
        assert f"\n    {name}: {description}" in shown.__doc__


def test_what_is_said_before_and_after_stays():
    """The summary comes first and `Raises` last."""
    text = inspect.getdoc(AsyncImagesClient.generate)

    assert text.startswith("Make images from a prompt")
    assert text.endswith("Raises:\n    ImagesError: See `send`.")


@pytest.mark.parametrize(("shown", "request_class"), DOCUMENTED, ids=NAMES)
def test_types_are_shown_plainly(shown, request_class):
    """A signature has no quotes, and names no type that is only text."""
    signature = str(inspect.signature(shown))

    assert "model: str | None = None" in signature
    assert "'" not in signature


def test_help_prints_it():
    """`help(client.generate)` shows the parameters of all base classes."""
    text = pydoc.plain(pydoc.render_doc(AsyncImagesClient.generate))

    for name in ("prompt", "quality", "model"):
        assert f"        {name}: " in text


def test_there_may_be_no_docstrings():
    """`python -OO` removes them."""
    assert with_parameters(None, GenerationRequest) is None
