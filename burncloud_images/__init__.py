"""The asyncio client for Burncloud's images API: nothing paid is lost, nothing is bought twice."""

from typing import TYPE_CHECKING

from burncloud_images import errors
from burncloud_images.calls.hooks import CallHooks
from burncloud_images.client import AsyncImagesClient
from burncloud_images.files.sinks import Directory, ImageContext, ImageWriter, Memory, ReadableWriter, Sink
from burncloud_images.model import sizes
from burncloud_images.model.inputs import FileID, ImageLike, ImageURL
from burncloud_images.model.media import Media
from burncloud_images.model.operations import EditRequest, GenerationRequest, VariationRequest
from burncloud_images.results import (
    Attempt,
    CompletedImage,
    Cost,
    DamagedImage,
    Done,
    Failed,
    Image,
    ImagesResult,
    ModelInfo,
    PartialImage,
    RefusedImage,
    SavedImage,
    Task,
    Unfetched,
    Usage,
)
from burncloud_images.retry import Clock, RetryPolicy
from burncloud_images.settings import Limits, Network, Timeouts

if TYPE_CHECKING:
    from burncloud_images.calls.map_outcomes import Outcomes

__all__ = [
    "AsyncImagesClient",
    "Attempt",
    "CallHooks",
    "Clock",
    "CompletedImage",
    "Cost",
    "DamagedImage",
    "Directory",
    "Done",
    "EditRequest",
    "Failed",
    "FileID",
    "GenerationRequest",
    "Image",
    "ImageContext",
    "ImageLike",
    "ImageURL",
    "ImageWriter",
    "ImagesResult",
    "Limits",
    "Media",
    "Memory",
    "ModelInfo",
    "Network",
    "Outcomes",
    "PartialImage",
    "ReadableWriter",
    "RefusedImage",
    "RetryPolicy",
    "SavedImage",
    "Sink",
    "Task",
    "Timeouts",
    "Unfetched",
    "Usage",
    "VariationRequest",
    "errors",
    "sizes",
]


def __getattr__(name: str) -> object:
    """Import `Outcomes` when it is first asked for, because it needs asyncio, which takes long to load."""
    if name != "Outcomes":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from burncloud_images.calls.map_outcomes import Outcomes

    return Outcomes
