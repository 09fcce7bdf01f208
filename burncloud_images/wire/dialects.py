"""
What servers do differently: rows of values, found by the host of the base URL or chosen by name.

A server is recognised by its host or by the name that the caller gives, and then by the form of its errors. Its headers
tell nothing, because proxies in front of it pass them on.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import attrs

from burncloud_images.errors import ConfigurationError


@attrs.frozen(kw_only=True)
class TaskDialect:
    """
    How to ask a server to run a request as a task, and for the state of a task.

    Attributes:
        fields: Added to the request.
        headers: Added to those of the request.
        path: Where requests go in place of `/images/<operation>`, which it may contain as `{operation}`.
        poll_path: Where tasks are asked for, with `{id}`; None for the usual places.
        poll_headers: Added when a task is asked for.

    Source:
        RFC 7240 §4.1 for `Prefer`, which every server may ignore.
    """

    fields: Mapping[str, object] = attrs.field(factory=dict)
    headers: Mapping[str, str] = attrs.field(factory=lambda: {"Prefer": "respond-async"})
    path: str | None = None
    poll_path: str | None = None
    poll_headers: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class References:
    """
    Fields of a generation that name input images, on a server that has no edits.

    Attributes:
        one: The field of a single image.
        several: The field of a list of images; None if there is none.
        is_list: Whether a single image is a list as well.
        is_object: Whether an image is `{"type": "image_url", "image_url": {"url": …}}`, and not the URL itself.
    """

    one: str
    several: str | None
    is_list: bool = False
    is_object: bool = False


@attrs.frozen(kw_only=True)
class Dialect:
    """
    One server, or one program that serves the API in many places.

    Attributes:
        name: To choose it by.
        hosts: Where it is, over TLS; there is nothing but itself and what it put in front. One that begins with a dot
            is the end of the hosts of its customers.
        refusals: Error codes, or types, that mean that the work was refused before it began.
        fields: Fields that each of the server's own error objects contains.
        bills_errors: Whether its errors may come although the images were billed.
        tasks: How it is asked for tasks.
        base_path: The path of a base URL that has none.
        generations: Where generations are asked for.
        references: How a generation names the images of an edit; None if the server has edits.
        key_header: The header of the key; any but `Authorization` holds the key alone.
        renames: Its names for fields of the API.
        values: Its words for values of fields.
        edges: Its fields for width and height, if it takes them in place of a size.
    """

    name: str
    hosts: frozenset[str] = frozenset()
    refusals: frozenset[str] = frozenset()
    fields: frozenset[str] = frozenset({"message", "type"})
    bills_errors: bool = True
    tasks: TaskDialect = attrs.field(factory=TaskDialect)
    base_path: str = "/v1"
    generations: str = "/images/generations"
    references: References | None = None
    key_header: str = "Authorization"
    renames: Mapping[str, str] = attrs.field(factory=dict)
    values: Mapping[str, Mapping[str, str]] = attrs.field(factory=dict)
    edges: tuple[str, str] | None = None

    def is_at(self, host: str) -> bool:
        """Say whether the server is at *host*."""
        return host in self.hosts or any(name[0] == "." and host.endswith(name) for name in self.hosts)

    def vouches(self, error: Mapping[str, object]) -> bool:
        """Say whether *error* is of its own form, and nothing is billed for it."""
        return not self.bills_errors and self.fields <= error.keys()


DIALECTS = (
    Dialect(
        name="openai",
        hosts=frozenset({"api.openai.com", "eu.api.openai.com", "us.api.openai.com"}),
        # Its guide to error codes: 503, the model has no capacity for the request. Nothing that it publishes says
        # that any other error is free; its own library sends those again, as it does what has timed out.
        refusals=frozenset({"server_is_overloaded", "slow_down"}),
        fields=frozenset({"message", "type", "param", "code"}),
    ),
    Dialect(
        name="newapi",
        # `get_channel_failed` and `model_not_found`: no channel was found, so the quota is untouched or given back.
        # Source: middleware/distributor.go and getChannel in controller/relay.go.
        refusals=frozenset({"get_channel_failed", "model_not_found"}),
        fields=frozenset({"message", "type", "param", "code"}),
        # Relay in controller/relay.go gives back what it had set aside for the call, whatever the error was.
        bills_errors=False,
        # Its forks that make tasks of images do so for this field.
        tasks=TaskDialect(fields={"async": True}),
    ),
    Dialect(
        name="burncloud",
        hosts=frozenset({"ai.burncloud.com", "api.burncloud.com", "eu-ai.burncloud.com"}),
        # crates/router/src/lib.rs of its own router, which rejects with these before it chooses an upstream.
        refusals=frozenset({"no_available_channels", "rate_budget_exhausted"}),
        # The fields that its fork of new-api writes; no error of a content network, and none of its router, has all.
        fields=frozenset({"message", "type", "param", "code"}),
        bills_errors=False,
        tasks=TaskDialect(fields={"async": True}),
    ),
    Dialect(
        name="oneapi",
        # relay/controller/image.go takes the quota once upstream has said 200, also where the answer is then lost.
        bills_errors=True,
    ),
    Dialect(
        name="moonshot",
        # Its API and others of engines: the engine is overloaded and takes no request.
        refusals=frozenset({"engine_overloaded", "engine_overloaded_error"}),
    ),
    Dialect(
        name="modelscope",
        hosts=frozenset({"api-inference.modelscope.cn"}),
        # Its guide to API inference, "Text-to-Image": both headers, and `tasks/{id}` below the base URL.
        tasks=TaskDialect(
            headers={"X-ModelScope-Async-Mode": "true"},
            poll_path="/tasks/{id}",
            poll_headers={"X-ModelScope-Task-Type": "image_generation"},
        ),
    ),
    Dialect(
        name="azure",
        hosts=frozenset({".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com"}),
        # Its reference, "Authentication": a key goes into this header, and only a token into `Authorization`.
        key_header="api-key",
        base_path="/openai/v1",
    ),
    Dialect(
        name="openrouter",
        hosts=frozenset({"openrouter.ai"}),
        # Its guide to image generation: POST /api/v1/images, also with images.
        base_path="/api/v1",
        generations="/images",
        references=References(one="input_references", several="input_references", is_list=True, is_object=True),
    ),
    Dialect(
        name="ark",
        hosts=frozenset({"ark.cn-beijing.volces.com", "ark.ap-southeast.bytepluses.com"}),
        # Its reference, "Image generation API": `image` is a URL, a data URL, or a list of them.
        base_path="/api/v3",
        references=References(one="image", several="image"),
    ),
    Dialect(
        name="together",
        hosts=frozenset({"api.together.xyz", "api.together.ai"}),
        # Its reference, "Create image".
        references=References(one="image_url", several="reference_images"),
        values={"response_format": {"b64_json": "base64"}},
        edges=("width", "height"),
    ),
    Dialect(
        name="siliconflow",
        hosts=frozenset({"api.siliconflow.cn", "api.siliconflow.com"}),
        # Its reference, "Images generations"; a second and third image are fields of their own.
        references=References(one="image", several=None),
        renames={"size": "image_size", "n": "batch_size"},
    ),
    Dialect(
        name="zhipu",
        hosts=frozenset({"open.bigmodel.cn", "api.z.ai"}),
        base_path="/api/paas/v4",
        # Its API reference, "Generate Image (Async)" and "Retrieve Result".
        tasks=TaskDialect(path="/async/images/{operation}", poll_path="/async-result/{id}"),
    ),
)

USUAL_TASKS = TaskDialect()


def asking(dialect: Dialect | None) -> TaskDialect:
    """Return how a server is asked for tasks; None is one that is not known."""
    return dialect.tasks if dialect is not None else USUAL_TASKS


REFUSALS = frozenset(refusal for dialect in DIALECTS for refusal in dialect.refusals)
"""These mean the same from any server, if the error has the API's form."""


def find_dialect(base_url: str, name: str | None = None) -> Dialect | None:
    """
    Return the row of the server at *base_url*; None for one that is not known, of which nothing is supposed.

    Args:
        base_url: As requests use it.
        name: The row's, if the caller knows better.

    Raises:
        ConfigurationError: There is no such row.
    """
    if name is not None:
        found = next((dialect for dialect in DIALECTS if dialect.name == name), None)
        if found is None:
            known = ", ".join(dialect.name for dialect in DIALECTS)
            raise ConfigurationError(f"There is no dialect {name!r}; known are {known}.")
        return found
    parts = urlsplit(base_url)
    host = (parts.hostname or "").rstrip(".")
    return next((dialect for dialect in DIALECTS if parts.scheme == "https" and dialect.is_at(host)), None)
