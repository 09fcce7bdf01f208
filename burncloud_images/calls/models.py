"""Which models the API lists."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping

from burncloud_images.calls.attempt import read_error, read_into
from burncloud_images.calls.charge import free_of_charge
from burncloud_images.calls.resources import Resources
from burncloud_images.errors import NOT_BILLED, ConnectionFailedError, OutcomeUnknownError, ProtocolError
from burncloud_images.results import ModelInfo
from burncloud_images.retry import repeat
from burncloud_images.settings import Settings
from burncloud_images.transport.port import AttemptState
from burncloud_images.transport.secret import DiscreetResponse, bearer, forgetting_locals
from burncloud_images.wire.answer import to_datetime, to_text
from burncloud_images.wire.failures import ErrorResponse, to_error
from burncloud_images.wire.redaction import Redaction

MOST_BYTES = 16 * 1024 * 1024


async def list_models(settings: Settings, resources: Resources) -> tuple[ModelInfo, ...]:
    """
    Return the models that `GET /v1/models` lists, in the server's order.

    Raises:
        ImagesError: As for any request; nothing is ever billed.
    """

    async def attempt() -> tuple[ModelInfo, ...]:
        try:
            return await ask()
        except OutcomeUnknownError as error:  # asking again costs nothing
            raise ConnectionFailedError(error.message, phase=error.phase) from None

    async def ask() -> tuple[ModelInfo, ...]:
        key = await settings.key()
        redaction = Redaction(key)
        headers = {"Authorization": bearer(key)}
        state = AttemptState(clock=resources.clock)
        url = f"{settings.base_url}/models"
        async with resources.transport.get(url, headers, state, settings.timeouts, door="api") as answered:
            response = DiscreetResponse(answered, redaction)
            if response.status != 200:
                text = redaction.body(await read_error(response, MOST_BYTES))
                reply = ErrorResponse(
                    status=response.status, headers=response.headers, body=text, phase=state.phase, operation=None
                )
                raise to_error(reply)
            body = bytearray()
            await read_into(body, response, MOST_BYTES)
        return tuple(to_models(redaction.body(bytes(body))))

    with free_of_charge(NOT_BILLED), forgetting_locals():
        return await repeat(
            attempt,
            settings.retry,
            clock=resources.clock,
            jitter=random.random,
            budget=resources.budget,
            gate=resources.gate,
        )


def to_models(body: bytes) -> Iterator[ModelInfo]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    items = document.get("data") if isinstance(document, Mapping) else None
    if not isinstance(items, list):
        raise ProtocolError("The list of models is not what the API documents.", raw=body[: 1024 * 1024])
    for item in items:
        if isinstance(item, Mapping) and (name := to_text(item.get("id"))):
            yield ModelInfo(
                id=name,
                created=to_datetime(item.get("created")),
                owned_by=to_text(item.get("owned_by")),
                shutdown_date=to_text(item.get("shutdown_date")),
            )
