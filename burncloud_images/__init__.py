"""The asyncio client for Burncloud's images API: nothing paid is lost, nothing is bought twice."""

from burncloud_images import errors
from burncloud_images.client import AsyncImagesClient
from burncloud_images.files.sinks import Directory, Memory, Sink
from burncloud_images.model.inputs import FileID, ImageURL
from burncloud_images.model.operations import EditRequest, GenerationRequest, VariationRequest
from burncloud_images.results import (
    Attempt,
    CompletedImage,
    Done,
    Failed,
    Image,
    ImagesResult,
    ModelInfo,
    PartialImage,
    SavedImage,
    Usage,
)
from burncloud_images.retry import RetryPolicy
from burncloud_images.settings import Limits, Network, Timeouts

__all__ = [
    "AsyncImagesClient",
    "Attempt",
    "CompletedImage",
    "Directory",
    "Done",
    "EditRequest",
    "Failed",
    "FileID",
    "GenerationRequest",
    "Image",
    "ImageURL",
    "ImagesResult",
    "Limits",
    "Memory",
    "ModelInfo",
    "Network",
    "PartialImage",
    "RetryPolicy",
    "SavedImage",
    "Sink",
    "Timeouts",
    "Usage",
    "VariationRequest",
    "errors",
]
