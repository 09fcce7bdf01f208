"""
Images in object storage: `Bucket`, a sink that puts each image whole under one key.

An image is received, hashed and looked at in a file on this machine, and then put by one request: object stores show
whole objects or none. If that fails, the file stays, and the error says where it is.
"""

from __future__ import annotations

import asyncio
import random
import re
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar
from urllib.parse import urlsplit

import attrs

from burncloud_images.disk import explain, finish_whatever_happens, numbered, run, try_folder
from burncloud_images.errors import ConfigurationError, StorageError
from burncloud_images.files.sinks import (
    FIELD,
    ROOM,
    Directory,
    DirectoryWriter,
    Exists,
    ImageContext,
    fill,
    template,
)
from burncloud_images.model.media import Media
from burncloud_images.results import Image, ImageDetails, SavedImage

if TYPE_CHECKING:
    from obstore.store import ObjectStore

__all__ = ["Bucket", "UploadedImage"]

SCHEMES = ("s3", "s3a", "gs", "az", "azure", "adl", "abfs", "abfss")
MULTIPART = 16 * 1024 * 1024
"""
Bytes above which a file is put in parts, as each request holds what it sends in memory. The store shows the object once
the last part is there.
"""
PART = 8 * 1024 * 1024
PARTS_AT_ONCE = 2
TIMEOUT = "2m"
"""The time for one request: 16 MiB at 140 kB a second."""
RETRIES = 4
"""How often a request is repeated that the store refused for the moment, or that was cut off."""
BACKOFF = 0.2
"""Seconds before the first repetition of one that was cut off; each other waits twice as long."""
PROBE = ".burncloud-images-probe"
"""The empty object by which it is found out whether the bucket can be written, before anything is bought."""
Content: TypeAlias = Path | bytes
CREATE: tuple[Literal["create", "overwrite"], ...] = ("create", "overwrite")
OVERWRITE: tuple[Literal["overwrite"], ...] = ("overwrite",)
T = TypeVar("T")


@attrs.frozen(kw_only=True)
class UploadedImage(ImageDetails):
    """
    One image in a bucket.

    Attributes:
        uri: Where it is, as `s3://bucket/prefix/name.png`. It holds no credentials.
        size: Bytes.
        sha256: Hex digest of the bytes; the object has it as metadata, too.
        etag: The store's name for these bytes; None if it gives none.
    """

    uri: str
    size: int
    sha256: str
    etag: str | None = None


@attrs.define
class WriteCheck:
    """Whether the bucket is known to take objects; forgotten when it refuses one."""

    passed: bool = False


def check_address(url: str) -> None:
    """Refuse what names no bucket, without repeating it: it may hold credentials."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ConfigurationError("The address of the bucket cannot be read; write s3://bucket/prefix.") from None
    if "@" in parts.netloc and parts.scheme not in {"abfs", "abfss"}:
        raise ConfigurationError(
            "The address of a bucket holds no credentials; set those of the cloud's own tools, such as "
            "AWS_ACCESS_KEY_ID."
        )
    if parts.scheme not in SCHEMES:
        known = "s3://, gs:// or az://"
        hint = " For a folder of this machine, use Directory." if parts.scheme in {"", "file"} else ""
        raise ConfigurationError(f"A bucket's address begins with {known}, not with {parts.scheme + '://'!r}.{hint}")
    if not parts.netloc:
        raise ConfigurationError(f"{url!r} names no bucket; write {parts.scheme}://bucket/prefix.")
    if parts.query or parts.fragment:
        raise ConfigurationError("The address of a bucket takes no ? or #; give settings as options.")


@attrs.frozen
class Bucket:
    """
    Puts the images into object storage; results are `UploadedImage`.

    It needs the extra `cloud`. Credentials are those of the cloud's own tools in the environment, as
    `AWS_ACCESS_KEY_ID`, `GOOGLE_APPLICATION_CREDENTIALS` or `AZURE_STORAGE_ACCOUNT_KEY`, or come by *options*.

    Before a request is sent, an empty object `.burncloud-images-probe` is written once and deleted again, so that a
    bucket that is missing or read-only costs nothing. An image that cannot be put is kept in a file, which the
    `StorageError` names in `elsewhere`.

    Cancellation waits until the image at hand is in the bucket.

    Args:
        url: `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`.
        name: A template for the objects' names, with the fields of `Directory`.
        exists: What to do if another object has the name: `error`, before anything is sent where the name can be
            known; `rename` by a number; or `overwrite`. An object with the same bytes is the same image, and is left.
        scratch: The folder of this machine for files that are under way; by default a temporary one.
        options: For obstore's `from_url`: `config`, `client_options`, `retry_config`, `credential_provider`. They may
            be secret, and are not shown.

    Raises:
        ConfigurationError: The address or an option is not valid, or obstore is not installed.
    """

    url: str
    name: str = attrs.field(default="{id}-{index}.{ext}", validator=template, kw_only=True)
    exists: Exists = attrs.field(
        default="error", validator=attrs.validators.in_(("error", "rename", "overwrite")), kw_only=True
    )
    scratch: Path = attrs.field(
        factory=lambda: Path(tempfile.gettempdir()) / "burncloud-images", converter=Path, kw_only=True
    )
    options: Mapping[str, object] = attrs.field(factory=dict, repr=False, kw_only=True)
    store: ObjectStore = attrs.field(
        init=False, repr=False, eq=False, default=attrs.Factory(lambda bucket: bucket.connect(), takes_self=True)
    )
    check: WriteCheck = attrs.field(init=False, repr=False, eq=False, factory=WriteCheck)

    def connect(self) -> ObjectStore:
        """Return obstore's own store; no connection is opened yet."""
        check_address(self.url)
        try:
            from obstore.exceptions import BaseError
            from obstore.store import from_url
        except ImportError:
            message = "Buckets are reached by obstore, which is an extra: pip install 'burncloud-images[cloud]'."
            raise ConfigurationError(message) from None
        options = {
            "client_options": {"timeout": TIMEOUT, **section(self.options, "client_options")},
            "retry_config": {"max_retries": RETRIES, **section(self.options, "retry_config")},
            **{name: value for name, value in self.options.items() if name not in {"client_options", "retry_config"}},
        }
        try:
            return from_url(self.url, **options)  # type: ignore[call-overload, no-any-return]
        except (BaseError, ValueError, TypeError) as error:
            raise ConfigurationError(f"{self.url} cannot be used: {self.explain(error)}.") from None

    async def prepare(self, placement: ImageContext, count: int) -> None:
        """
        Make sure that images can be received here and put there.

        Raises:
            StorageError: They cannot, or a name is taken.
        """
        try:
            await run(placement.executor, try_folder, self.scratch, "image.png", count * ROOM)
        except (OSError, ValueError) as error:
            raise StorageError(f"{self.scratch} cannot be written: {explain(error)}.") from None
        if not self.check.passed:
            await self.try_bucket()
        if self.exists == "error" and not {"id", "sha8"} & set(FIELD.findall(self.name)):
            await self.refuse_taken(placement, count)

    async def try_bucket(self) -> None:
        import obstore

        try:
            await self.repeat(lambda: obstore.put_async(self.store, PROBE, b"", use_multipart=False))
        except Exception as error:  # noqa: BLE001 (whatever obstore raises)
            raise StorageError(f"{self.url} cannot be written: {self.explain(error)}; nothing was sent.") from None
        self.check.passed = True
        with suppress(Exception):  # writing may be allowed where deleting is not
            await obstore.delete_async(self.store, PROBE)

    async def refuse_taken(self, placement: ImageContext, count: int) -> None:
        folder = Directory(self.scratch, name=self.name)
        places = (attrs.evolve(placement, index=index) for index in range(count))
        names = {name for place in places for name in folder.candidates(place)}
        for name, found in zip(names, await asyncio.gather(*map(self.find_digest, names)), strict=True):
            if found is not None:
                raise StorageError(f"{self.to_uri(name)} exists already, so nothing was sent.")

    def open(self, placement: ImageContext) -> BucketWriter:
        """Return a writer into a file of this machine."""
        folder = Directory(self.scratch, exists="rename", hash=True)
        return BucketWriter(bucket=self, placement=placement, file=folder.open(placement))

    def answer_path(self, placement: ImageContext) -> Path:
        """Return the file for an answer that is not understood; it stays on this machine."""
        return self.scratch / f"{placement.id}.answer"

    def to_uri(self, name: str) -> str:
        return f"{self.url.rstrip('/')}/{name}"

    async def find_digest(self, name: str) -> str | None:
        """Return the SHA-256 in the metadata of an object, empty if it has none; None if there is no object."""
        import obstore

        try:
            found = await obstore.get_async(self.store, name, options={"head": True})
        except FileNotFoundError:
            return None
        return str(found.attributes.get("sha256", ""))

    async def put(self, name: str, content: Content, size: int, attributes: dict[str, str]) -> str | None:
        """
        Put an object whose name is free, and return its ETag.

        Raises:
            FileExistsError: Another object has the name.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError, NotSupportedError

        several = size > MULTIPART
        only_new = self.exists != "overwrite"
        if only_new and several and await self.find_digest(name) is not None:  # parts cannot be put on a condition
            raise FileExistsError(name)
        for mode in CREATE if only_new and not several else OVERWRITE:
            send = partial(
                obstore.put_async,
                self.store,
                name,
                content,
                attributes=attributes,
                mode=mode,
                use_multipart=several,
                chunk_size=PART,
                max_concurrency=PARTS_AT_ONCE,
            )
            try:
                found = await self.repeat(send)
            except AlreadyExistsError:
                raise FileExistsError(name) from None
            except NotSupportedError:  # a store without conditions
                if mode != "create" or await self.find_digest(name) is not None:
                    raise FileExistsError(name) from None
            else:
                return found["e_tag"]
        raise AssertionError

    async def repeat(self, call: Callable[[], Awaitable[T]]) -> T:
        """
        Call again when the connection was cut off, which obstore does only for calls that read.

        The object may be there by then. The same bytes put twice are one object, and one that is only to be made if the
        name is free is known by its digest.
        """
        from obstore.exceptions import GenericError

        pause = find_pause(self.options)
        for _ in range(RETRIES):
            try:
                return await call()
            except GenericError as error:
                if "HTTP error" not in str(error):
                    raise
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 (it only spreads them)
            pause *= 2
        return await call()

    def explain(self, error: Exception) -> str:
        """Return what the store said, as a clause that shows no secret."""
        from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

        text = str(error).partition("\n\nDebug source:")[0]
        code = re.search(r"<Code>(\w+)</Code>", text)
        if isinstance(error, FileNotFoundError):
            return "there is no such bucket"
        if isinstance(error, PermissionDeniedError | UnauthenticatedError):
            return "these credentials do not allow it" + (f" ({code[1]})" if code else "")
        if "169.254.169.254" in text or "metadata.google.internal" in text:
            return "there are no credentials; set those of the cloud's own tools, such as AWS_ACCESS_KEY_ID"
        said = f"the store says {code[1]}" if code else " ".join(text.split())[:300].rstrip(".")
        return self.mask(said)

    def mask(self, text: str) -> str:
        for value in secrets(self.options):
            text = text.replace(value, "…")
        return text


def section(options: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = options.get(name, {})
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"The option {name} has to be a mapping.")
    return value


def find_pause(options: Mapping[str, object]) -> float:
    """Return the seconds before the first repetition: those that obstore waits, if they are given."""
    given = section(section(options, "retry_config"), "backoff").get("init_backoff")
    return given.total_seconds() if isinstance(given, timedelta) else BACKOFF


def secrets(options: Mapping[str, object]) -> list[str]:
    """Return the texts in *options* that are long enough to be one."""
    config = section(options, "config")
    return [value for value in config.values() if isinstance(value, str) and len(value) > 7 and "://" not in value]


@attrs.define(kw_only=True)
class BucketWriter:
    """A file of this machine, which is put when it is whole."""

    bucket: Bucket
    placement: ImageContext
    file: DirectoryWriter

    async def write(self, data: bytes) -> None:
        await self.file.write(data)

    async def finish(self) -> Media:
        return await self.file.finish()

    async def read_back(self, most: int) -> bytes:
        return await self.file.read_back(most)

    async def discard(self) -> None:
        await self.file.discard()

    async def keep(self, media: Media) -> UploadedImage:
        try:
            saved = await self.file.keep(media)
        except StorageError as error:  # the disk is full; the bucket may not be
            return await self.keep_rescued(error)
        try:
            uploaded = await self.upload(saved, saved.path, saved.size, saved.sha256 or "")
        except Exception as error:  # noqa: BLE001 (whatever it is, the image is paid for)
            raise await self.describe(error, saved) from None
        await finish_whatever_happens(run(self.placement.executor, self.remove, saved.path))
        return uploaded

    async def keep_rescued(self, error: StorageError) -> UploadedImage:
        """Put an image that is in memory, as this machine's disk did not take it."""
        import hashlib

        (image,) = error.unsaved
        digest = hashlib.sha256(image.data).hexdigest()
        try:
            uploaded = await self.upload(image, image.data, len(image.data), digest)
        except Exception:  # noqa: BLE001 (both have failed, and the first says where the image is)
            raise error from None
        for path in error.elsewhere.values():
            await finish_whatever_happens(run(self.placement.executor, self.remove, path))
        return uploaded

    async def upload(self, image: Image | SavedImage, content: Content, size: int, digest: str) -> UploadedImage:
        bucket = self.bucket
        media = Media(media_type=image.media_type)
        attributes = {"Content-Type": image.media_type or "application/octet-stream", "sha256": digest}
        wanted = fill(bucket.name, self.placement, media, digest)
        for name in map(str, numbered(Path(wanted))):
            work = asyncio.ensure_future(bucket.put(name, content, size, attributes))
            try:
                etag = await finish_whatever_happens(work)
            except FileExistsError:
                if await bucket.find_digest(name) != digest:
                    if bucket.exists == "rename":
                        continue
                    raise
                etag = None  # it is this very image: the answer to an earlier request for it was lost
            return UploadedImage(**details(image), uri=bucket.to_uri(name), size=size, sha256=digest, etag=etag)
        raise FileExistsError(wanted)

    async def describe(self, error: Exception, saved: SavedImage) -> StorageError:
        """Return an error that has the image, and says where its file is."""
        self.bucket.check.passed = False
        if isinstance(error, FileExistsError):
            reason = f"another object has the name {error}"
        else:
            reason = self.bucket.explain(error)
        data = await finish_whatever_happens(run(self.placement.executor, saved.path.read_bytes))
        number = self.placement.index + 1
        return StorageError(
            f"Image {number} cannot be put into {self.bucket.url}: {reason}; it was saved as {saved.path}.",
            images=[Image(**details(saved), data=data)],
            elsewhere={self.placement.index: saved.path},
        )

    def remove(self, path: Path) -> None:
        with suppress(OSError):
            path.unlink()


def details(image: ImageDetails) -> dict[str, Any]:
    """Return what the bytes of an image say, as keyword arguments."""
    return {name: getattr(image, name) for name in ("index", "media_type", "width", "height")}
