"""How a job is run."""

from __future__ import annotations

from typing import Literal

import attrs

from burncloud_images.prices.table import PriceTable

at_least_one = attrs.validators.and_(attrs.validators.instance_of(int), attrs.validators.ge(1))
perhaps_one = attrs.validators.optional(at_least_one)
positive = attrs.validators.optional(attrs.validators.gt(0))


@attrs.frozen(kw_only=True)
class JobOptions:
    """
    How a job is run; nothing of it is remembered, so another run may differ.

    Attributes:
        concurrency: Most requests under way at once. Fewer are while the API pushes back.
        requests_per_minute: Most requests sent in any minute, over restarts too; None for no limit.
        images_per_minute: Most images asked for in any minute.
        tokens_per_minute: Most tokens in any minute, by the most that each request can take; a model whose tokens the
            price table does not tell counts for none.
        max_cost: Nano-dollars that all runs together may spend, what is in doubt included. It needs a price for every
            model that is asked for.
        max_images: Images that all runs together may buy, those in doubt included.
        prices: What images cost; None if that is not known.
        on_unknown: What to do about requests that may have been billed and brought nothing. `hold` lists them and buys
            none again; `retry` accepts to pay twice, for those of earlier runs too.
        server_idempotency: What the API does with an idempotency key that it has seen; see `RetryPolicy`. With `replay`
            or `reject` requests in doubt are sent again, since that buys nothing twice.
        retry_failed: Whether failed requests of earlier runs are tried again.
        limit: Most requests to start in this run.
        fail_fast: Whether to stop at the first failed request.
        patience: Seconds without a success after which the run gives up on an API that is not there or asks to wait.
        via_stream: Whether requests that can be streamed are; see `AsyncImagesClient.send`.
        room: Bytes of disk that are kept free for images that are under way; by default 4 MiB for each.
        output: `files`, or `webdataset`: tar files of up to 10,000 images each, in place of single files.
        metadata: `jsonl`, or `parquet`, which needs pyarrow.
        name: Template of names that people can read, for a folder `named/` with the images under these; None for none.
    """

    concurrency: int = attrs.field(default=16, validator=at_least_one)
    requests_per_minute: float | None = attrs.field(default=None, validator=positive)
    images_per_minute: float | None = attrs.field(default=None, validator=positive)
    tokens_per_minute: float | None = attrs.field(default=None, validator=positive)
    max_cost: int | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.ge(0)))
    max_images: int | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.ge(0)))
    prices: PriceTable | None = None
    on_unknown: Literal["hold", "retry"] = attrs.field(
        default="hold", validator=attrs.validators.in_(("hold", "retry"))
    )
    server_idempotency: Literal["none", "replay", "reject"] = attrs.field(
        default="none", validator=attrs.validators.in_(("none", "replay", "reject"))
    )
    retry_failed: bool = False
    limit: int | None = attrs.field(default=None, validator=perhaps_one)
    fail_fast: bool = False
    patience: float = attrs.field(default=900.0, validator=attrs.validators.ge(0))
    via_stream: bool = False
    room: int | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.ge(0)))
    output: Literal["files", "webdataset"] = attrs.field(
        default="files", validator=attrs.validators.in_(("files", "webdataset"))
    )
    metadata: Literal["jsonl", "parquet"] = attrs.field(
        default="jsonl", validator=attrs.validators.in_(("jsonl", "parquet"))
    )

    name: str | None = None

    @property
    def buys_again(self) -> bool:
        """Whether what is in doubt may be sent again."""
        return self.on_unknown == "retry" or self.server_idempotency != "none"
