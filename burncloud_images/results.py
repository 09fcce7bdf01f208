"""
Results: images, what the API says about them, and the attempts it took.

All values are immutable. Durations are float seconds, sizes are int bytes, image dimensions are pixels and times are
aware UTC datetimes. No ``repr`` shows image bytes or the query of a signed URL.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeVar, cast

import attrs

from burncloud_images.errors import (
    Billing,
    ImageCountError,
    InvalidRequestError,
    KeptAnswer,
    Phase,
    StorageError,
    Violation,
    completed,
    hide_query,
    show_warning,
)

if TYPE_CHECKING:
    import os
    from decimal import Decimal

EXTENSIONS: Mapping[str, str] = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/svg+xml": "svg",
    "image/avif": "avif",
    "image/heic": "heic",
    "image/heif": "heif",
    "image/jxl": "jxl",
    "image/jp2": "jp2",
    "image/jpx": "jpx",
    "image/vnd.ms-photo": "jxr",
    "image/tiff": "tiff",
    "image/bmp": "bmp",
    "image/vnd.microsoft.icon": "ico",
    "image/x-win-cursor": "cur",
    "image/vnd.adobe.photoshop": "psd",
    "image/qoi": "qoi",
    "image/x-exr": "exr",
    "image/vnd.radiance": "hdr",
    "image/vnd-ms.dds": "dds",
    "image/ktx": "ktx",
    "video/x-mng": "mng",
    "image/x-jng": "jng",
    "image/x-xcf": "xcf",
    "image/icns": "icns",
    "image/flif": "flif",
    "image/bpg": "bpg",
    "image/x-farbfeld": "ff",
    "image/x-portable-anymap": "pnm",
    "image/x-sun-raster": "ras",
    "image/x-sgi": "sgi",
    "image/x-xpixmap": "xpm",
    "image/x-pcx": "pcx",
    "image/x-eps": "eps",
}
"""Of files, by media type: those that the API documents, and others that gateways and stores may answer in."""

T_co = TypeVar("T_co", covariant=True)
R_co = TypeVar("R_co", covariant=True)
E_co = TypeVar("E_co", bound=BaseException, covariant=True)


@attrs.frozen(kw_only=True)
class Attempt:
    """
    One attempt of a request, and how it ended.

    Attributes:
        number: From 1.
        phase: The furthest point reached.
        elapsed: Seconds from its start to its end.
        status: HTTP status, if an answer began.
        request_id: The server's id for this attempt, to quote to the provider's support.
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


@attrs.frozen(kw_only=True)
class Task:
    """
    A request that a gateway has accepted and is working on. Asking for its images is free, and can be done again.

    Attributes:
        id: The gateway's.
        url: Where it said to ask; None if it did not say, or named another host, which must not see the key.
        idempotency_key: Of the request.
        is_ended: Whether it is known to have failed, so that asking again brings nothing.
    """

    id: str
    url: str | None = attrs.field(default=None, repr=hide_query)
    idempotency_key: str | None = None
    is_ended: bool = False


@attrs.frozen(kw_only=True)
class ImageDetails:
    """
    What the API and the bytes themselves say about one image.

    Attributes:
        index: Place in the server's answer, from 0.
        media_type: Read from the bytes: `image/png`, `image/jpeg`, `image/webp`, `image/gif` or `image/svg+xml`; other
            formats, such as AVIF or TIFF, are recognised as well.
        width: Pixels, read from the bytes; None if the format does not say.
        height: Pixels, read from the bytes; None if the format does not say.
        revised_prompt: The prompt that was really used, where the model changed it.
        url: Where the server offered the image, if it sent a URL. It is a secret while it is valid.
        expires_at: When that URL expires, aware UTC.
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
        Write the image to *path*, whole or not at all, and return where it is.

        Args:
            path: A file in an existing directory. Its extension has to agree with the bytes. If the name is taken, the
                image gets the next free one (`otter-2.png`), and a warning says so.
            overwrite: Whether a file that is there is replaced.

        Raises:
            InvalidRequestError: The extension names another image format.
            StorageError: The file cannot be written.

        Both errors hold the image, and name a file that it was written to instead, if a folder took it.
        Cancellation removes the partial file.
        """
        from burncloud_images.disk import explain, finish_whatever_happens, run, write_beside, write_whole

        target = Path(path)
        if mismatch := find_mismatch(target, self.media_type):
            where, _ = await save_elsewhere(self)
            refusal = InvalidRequestError([Violation("path", f"{mismatch}{where}")])
            raise completed(refusal, images=[self], billed=Billing.YES)
        write = partial(write_whole, overwrite=True) if overwrite else write_beside
        try:
            saved = await finish_whatever_happens(run(None, write, target, self.data))
        except (OSError, ValueError) as error:  # a name can hold what no path can
            where, elsewhere = await save_elsewhere(self)
            message = f"{target} cannot be written: {explain(error)}{where}."
            raise StorageError(message, images=[self], elsewhere=elsewhere) from None
        if saved is not None and saved != target:
            show_warning(f"{target} exists already, so the image was saved as {saved}.")
        return saved or target


async def save_elsewhere(image: Image) -> tuple[str, Mapping[int, Path]]:
    """Write *image* to a folder that takes it; return a clause that names the file, and its path by `index`."""
    from burncloud_images.disk import finish_whatever_happens, run, write_elsewhere

    name = f"burncloud-{image.index + 1}.{EXTENSIONS.get(image.media_type or '', 'image')}"
    path = await finish_whatever_happens(run(None, write_elsewhere, name, image.data))
    return (f"; it was saved as {path}", {image.index: path}) if path is not None else ("", {})


SPELLINGS = {"jpeg": "jpg", "jpe": "jpg", "tif": "tiff", "heif": "heic", "hif": "heic", "j2k": "jp2", "ppm": "pnm"}
"""Other extensions of the same formats."""


def find_mismatch(path: Path, media_type: str | None) -> str | None:
    """Return what to do about a name whose extension is that of another image format; None if it is not."""
    suffix = path.suffix.lower().lstrip(".")
    named = SPELLINGS.get(suffix, suffix)
    extension = EXTENSIONS.get(media_type or "", named)
    extension = SPELLINGS.get(extension, extension)
    if named in EXTENSIONS.values() and named != extension:
        return f"{path.name} ends in .{named}, but the image is {media_type}; name it .{extension}"
    return None


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
class Unfetched:
    """
    A paid image that was not downloaded.

    Attributes:
        index: Place in the server's answer, from 0.
        url: Where it is. It is a secret while it is valid.
        expires_at: When the URL expires, aware UTC.
        expired: Whether it had already expired when it was tried.
        reason: Why the image was not fetched, in one sentence.
    """

    index: int
    url: str = attrs.field(repr=hide_query)
    expires_at: datetime | None = None
    expired: bool = False
    reason: str = ""


@attrs.frozen(kw_only=True)
class DamagedImage:
    """
    The part of an image that arrived. It is paid for, and the provider's support may be able to use it.

    Attributes:
        index: Place in the server's answer, from 0.
        reason: What is wrong with it, as one clause.
        data: Its bytes, up to where it broke off or stopped being base64.
        rest: The remaining text, as it came, if it is not base64.
    """

    index: int
    reason: str
    data: bytes = attrs.field(default=b"", repr=lambda data: f"<{len(data)} bytes>")
    rest: bytes = attrs.field(default=b"", repr=lambda rest: f"<{len(rest)} bytes>")


MOST_WORDS = 500
"""Characters of a server's words that a sentence shows."""


@attrs.frozen(kw_only=True)
class RefusedImage:
    """
    An image of an answer that the server refused to make or to hand out, while others came.

    Attributes:
        index: Place in the server's answer, from 0.
        code: The server's code for the reason, if it gives one.
        message: What the server says.
    """

    index: int
    code: str | None = None
    message: str = ""

    def __str__(self) -> str:
        """Return it as one sentence."""
        words = [self.code, self.message] if self.code != self.message else [self.message]
        why = ": ".join(filter(None, words))[:MOST_WORDS].rstrip(". ")
        return f"Image {self.index + 1} was refused{f': {why}' if why else ' without a reason'}."


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
        extra: All else that the server says about it, such as its own `cost`.
    """

    total_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: TokenDetails | None = None
    output_tokens_details: TokenDetails | None = None
    extra: Mapping[str, object] = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True)
class SVGUsage:
    """
    The tokens of the model that writes an SVG, which is paid at its own price.

    Attributes:
        model: Its name.
        total_tokens: Input and output.
        input_tokens: What it read.
        output_tokens: What it wrote.
        reasoning_tokens: What it thought; part of the output.
    """

    model: str | None = None
    total_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None


@attrs.frozen(kw_only=True)
class Cost:
    """
    What a request cost.

    Attributes:
        amount: In units of the currency, exactly.
        currency: As `USD`.
        source: Who says so: the `answer` itself; its `tokens`, at the list prices of this version; or the `list` price
            of an image. A gateway may charge otherwise than the list.
    """

    amount: Decimal
    currency: str = "USD"
    source: Literal["answer", "tokens", "list"] = "answer"


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
        request_id: The server's id for this request, to quote to the provider's support.
        idempotency_key: Our key for this call.
        history: Every attempt, the successful one last.
        safety_identifier: As the server returns it.
        svg_usage: Tokens of the model that wrote an SVG.
        stated_cost: What the answer itself says that it cost.
        priced: The fields of the request on which its price depends.
        extra: Fields of the answer that this version does not know; an `error` beside the images is among them.
        kept: The answer, if it names more images than were taken or holds fewer than were asked for; else None.
        refused: Images that the server refused, and why. A warning says so.
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
    safety_identifier: str | None = None
    svg_usage: SVGUsage | None = None
    stated_cost: Cost | None = None
    priced: Mapping[str, object] = attrs.field(factory=dict, repr=False, eq=False)
    extra: Mapping[str, object] = attrs.field(factory=dict, repr=False)
    kept: KeptAnswer | None = attrs.field(default=None, repr=False, eq=False)
    refused: tuple[RefusedImage, ...] = ()

    @property
    def image(self) -> T_co:
        """
        The only image.

        Raises:
            ImageCountError: There is not exactly one image; use `images`.
        """
        if len(self.images) != 1:
            raise ImageCountError(cast("tuple[ImageDetails, ...]", self.images))
        return self.images[0]

    @property
    def cost(self) -> Cost | None:
        """What it cost: as the answer says, or by its tokens or images at the list prices; None if nothing tells."""
        if self.stated_cost is not None:
            return self.stated_cost
        from burncloud_images.prices.table import PriceTable

        made = {"quality": self.quality, "size": self.size}
        fields = {**self.priced, **{name: value for name, value in made.items() if value is not None}}
        usage = attrs.asdict(self.usage) if self.usage is not None else None
        found = PriceTable.listed().estimate(fields, usage, len(self.images))
        return Cost(amount=found[0], source=found[1]) if found is not None else None


@attrs.frozen(kw_only=True)
class Done(Generic[R_co, T_co]):
    """
    One of many requests that succeeded, and its result.

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
    One of many requests that failed, and its error.

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
        request_id: The server's id for this request, to quote to the provider's support.
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
    A final image of a stream.

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
