"""
What comes back: images, what the API says about them, and the attempts it took.

All values are immutable. Durations are float seconds, sizes are int bytes, image dimensions are pixels and times are
aware UTC datetimes. No ``repr`` shows image bytes or the query of a signed URL.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Generic, TypeVar

import attrs

if TYPE_CHECKING:
    import os
    from pathlib import Path
    from typing import IO

__all__ = [
    "Attempt",
    "CompletedImage",
    "DamagedImage",
    "Done",
    "Failed",
    "Image",
    "ImageDetails",
    "ImageEvent",
    "ImagesResult",
    "KeptAnswer",
    "ModelInfo",
    "PartialImage",
    "Phase",
    "SavedImage",
    "TokenDetails",
    "Usage",
]

T_co = TypeVar("T_co", covariant=True)
R_co = TypeVar("R_co", covariant=True)
E_co = TypeVar("E_co", bound=BaseException, covariant=True)


class Phase(enum.IntEnum):
    """
    How far one attempt got, in order.

    Before `FINAL_RELEASED` the server cannot have had the whole request, so nothing can have been billed. From there on
    only a complete answer tells.
    """

    QUEUED = 0
    RESOLVING = 1
    CONNECTING = 2
    HEADERS = 3
    BODY = 4
    FINAL_RELEASED = 5
    STATUS = 6
    BODY_IN = 7
    COMPLETE = 8

    @property
    def may_be_billed(self) -> bool:
        """Whether a request that ended here can have been executed."""
        return self >= Phase.FINAL_RELEASED


@attrs.frozen(kw_only=True)
class Attempt:
    """
    One try of a request, as it ended.

    Attributes:
        number: From 1.
        phase: The furthest point reached.
        elapsed: Seconds from its start to its end.
        status: HTTP status, if an answer began.
        request_id: The server's id for this attempt, for its support.
        sent: Body bytes handed to the connection.
        failure: Name of the error class that ended it; None if it succeeded.
        wait: Seconds until the next attempt; None if there was none.
        idempotency_key: Our key for the call, the same for all its attempts.
        reused: Whether it went over a connection that had been used before.
    """

    number: int
    phase: Phase
    elapsed: float
    status: int | None = None
    request_id: str | None = None
    sent: int = 0
    failure: str | None = None
    wait: float | None = None
    idempotency_key: str | None = None
    reused: bool = False


def hide_query(url: str | None) -> str:
    """Return the repr of *url* without its query: a signed URL is a key to the image, a `data:` URL is the image."""
    if url is None:
        return "None"
    address, mark, _ = url.partition("," if url[:5].lower() == "data:" else "?")
    return repr(f"{address}{mark}…" if mark else address)


@attrs.frozen(kw_only=True, eq=False)
class KeptAnswer:
    """
    The bytes of an answer that was not understood, or not all of it, as the server sent them.

    It may hold signed addresses, and in a file your key if the server echoes it: keep it as a secret.

    Attributes:
        size: Bytes.
        path: The file that holds them, readable by its owner only; None if they are in memory or in an unnamed file.
        data: The bytes, if they are in memory.
        file: An unnamed temporary file that holds them; it goes with this object.
    """

    size: int
    path: Path | None = None
    data: bytes = attrs.field(default=b"", repr=False)
    file: IO[bytes] | None = attrs.field(default=None, repr=False)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle where the bytes are, and none of them."""
        return restore_kept, (self.size, self.path)

    def read(self) -> bytes:
        """Return all bytes; none if the file that held them is gone."""
        if self.path is not None:
            try:
                return self.path.read_bytes()
            except OSError:
                return b""
        if self.file is not None:
            self.file.seek(0)
            return self.file.read()
        return self.data

    @property
    def whereabouts(self) -> str:
        """Where the bytes are, in one sentence; empty if they are in memory."""
        if self.path is not None:
            return f"The answer is kept in {self.path}."
        if self.file is not None:
            return f"The answer, {self.size:,} bytes, is kept in an unnamed temporary file; .kept reads it."
        return ""


def restore_kept(size: int, path: Path | None) -> KeptAnswer:
    """Return what was pickled."""
    return KeptAnswer(size=size, path=path)


@attrs.frozen(kw_only=True)
class ImageDetails:
    """
    What the API and the bytes themselves say about one image.

    Attributes:
        index: Place in the server's answer, from 0.
        media_type: `image/png`, `image/jpeg`, `image/webp`, `image/gif` or `image/svg+xml`, read from the bytes.
        width: Pixels, read from the bytes; None if the format does not say.
        height: Pixels, read from the bytes; None if the format does not say.
        revised_prompt: The prompt that was really used, where the model changed it.
        url: Where the server offered the image, if it sent a URL. It is a secret while it is valid.
        expires_at: When that URL ends, aware UTC.
        extra: Fields of this image that this version does not know.
    """

    index: int = 0
    media_type: str | None = None
    width: int | None = None
    height: int | None = None
    revised_prompt: str | None = None
    url: str | None = attrs.field(default=None, repr=hide_query)
    expires_at: datetime | None = None
    extra: Mapping[str, object] = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True)
class Image(ImageDetails):
    """
    One image in memory.

    Attributes:
        data: The image file's bytes.
    """

    data: bytes = attrs.field(repr=lambda data: f"<{len(data)} bytes>")

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data)

    async def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """
        Write the image to *path*, whole or not at all, and return the path.

        Args:
            path: A file in an existing directory. Its extension has to agree with the bytes.
            overwrite: Whether a file that is there may be replaced.

        Raises:
            InvalidRequestError: The extension names another image format.
            StorageError: The file exists or cannot be written; the error holds the image.

        Cancellation removes the partial file.
        """
        from burncloud_images.transport.files import save_image

        return await save_image(self, path, overwrite=overwrite)


@attrs.frozen(kw_only=True)
class SavedImage(ImageDetails):
    """
    One image in a file.

    Attributes:
        path: Where it is, whole.
        size: Bytes.
        sha256: Hex digest of the bytes, if the sink was asked for it.
    """

    path: Path
    size: int
    sha256: str | None = None


@attrs.frozen(kw_only=True)
class DamagedImage:
    """
    What arrived of an image that is not whole: it is paid for, and a support may be able to use it.

    Attributes:
        index: Place in the server's answer, from 0.
        reason: What is wrong with it, as one clause.
        data: Its bytes, up to where it broke off or stopped being base64.
        rest: The text from there on, as it came, where that is no base64.
    """

    index: int
    reason: str
    data: bytes = attrs.field(default=b"", repr=lambda data: f"<{len(data)} bytes>")
    rest: bytes = attrs.field(default=b"", repr=lambda rest: f"<{len(rest)} bytes>")


@attrs.frozen(kw_only=True)
class TokenDetails:
    """Tokens by kind; None where the server does not say."""

    text_tokens: int | None = None
    image_tokens: int | None = None


@attrs.frozen(kw_only=True)
class Usage:
    """
    What a request cost in tokens (GPT image models).

    Attributes:
        total_tokens: Input and output.
        input_tokens: Tokens of prompt and input images.
        output_tokens: Tokens of the images made.
        input_tokens_details: Input by kind.
        output_tokens_details: Output by kind.
    """

    total_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: TokenDetails | None = None
    output_tokens_details: TokenDetails | None = None


@attrs.frozen(kw_only=True)
class ImagesResult(Generic[T_co]):
    """
    The answer to one request.

    Attributes:
        images: In the server's order. There can be fewer than were asked for; a warning says so.
        created: When the server made them, aware UTC.
        usage: Tokens (GPT image models).
        background: `transparent` or `opaque`, as made.
        output_format: As made.
        quality: As made.
        size: `WIDTHxHEIGHT`, as made.
        request_id: The server's id for this request, for its support.
        idempotency_key: Our key for this call.
        history: Every attempt, the successful one last.
        extra: Fields of the answer that this version does not know; an `error` beside the images is among them.
        kept: The answer, if it names more images than were taken or holds fewer than were asked for; else None.
    """

    images: tuple[T_co, ...]
    created: datetime | None = None
    usage: Usage | None = None
    background: str | None = None
    output_format: str | None = None
    quality: str | None = None
    size: str | None = None
    request_id: str | None = None
    idempotency_key: str | None = None
    history: tuple[Attempt, ...] = ()
    extra: Mapping[str, object] = attrs.field(factory=dict, repr=False)
    kept: KeptAnswer | None = attrs.field(default=None, repr=False, eq=False)

    @property
    def image(self) -> T_co:
        """
        The only image.

        Raises:
            ValueError: There are several; take `images`.
        """
        if len(self.images) != 1:
            message = f"this result holds {len(self.images)} images, not one; take them from .images"
            raise ValueError(message)
        return self.images[0]


@attrs.frozen(kw_only=True)
class Done(Generic[R_co, T_co]):
    """
    One of many requests, and its images.

    Attributes:
        index: Place of the request among those given, from 0.
        request: As given.
        result: Its answer.
    """

    index: int
    request: R_co
    result: ImagesResult[T_co]


@attrs.frozen(kw_only=True)
class Failed(Generic[R_co, E_co]):
    """
    One of many requests, and why it has no result.

    Attributes:
        index: Place of the request among those given, from 0.
        request: As given.
        error: What `send` would have raised. It says whether the request was billed, and holds what had arrived.
    """

    index: int
    request: R_co
    error: E_co


@attrs.frozen(kw_only=True)
class ImageEvent:
    """
    What the two events of a stream have in common.

    Attributes:
        image: The picture, in memory. Its `index` counts from 0; where the server does not number several images, in
            the order in which they are completed.
        created_at: As the server says, aware UTC.
        size: `WIDTHxHEIGHT`, as made; of a preview as asked for.
        quality: As made; of a preview as asked for.
        background: As made; of a preview as asked for.
        output_format: As made; of a preview as asked for.
        output_index: Which of several images it is, if the server says.
        request_id: The server's id for this request, for its support.
        extra: Fields of the event that this version does not know.
    """

    image: Image
    created_at: datetime | None = None
    size: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None
    output_index: int | None = None
    request_id: str | None = None
    extra: Mapping[str, object] = attrs.field(factory=dict, repr=False)

    @property
    def data(self) -> bytes:
        """The image file's bytes."""
        return self.image.data


@attrs.frozen(kw_only=True)
class PartialImage(ImageEvent):
    """
    A preview of an image that is still being made; later ones are better.

    Attributes:
        partial_image_index: Which preview it is, from 0.
    """

    partial_image_index: int = 0


@attrs.frozen(kw_only=True)
class CompletedImage(ImageEvent):
    """
    An image as it was asked for.

    Attributes:
        usage: Tokens of this image.
        idempotency_key: Our key for this call.
    """

    usage: Usage | None = None
    idempotency_key: str | None = None


@attrs.frozen(kw_only=True)
class ModelInfo:
    """
    A model that the API lists.

    Attributes:
        id: What requests name.
        created: Aware UTC, if the API says.
        owned_by: As the API says.
        shutdown_date: As the API says; None if it is not announced.
    """

    id: str
    created: datetime | None = None
    owned_by: str | None = None
    shutdown_date: str | None = None
