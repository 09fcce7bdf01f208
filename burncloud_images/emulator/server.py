"""The server: its routes, start and stop."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
import uuid
import warnings
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import attrs
from aiohttp import web

from burncloud_images.emulator.certificates import ServerCertificate, issue_certificate
from burncloud_images.emulator.delivery import GONE, cut, deliver, merge_headers, pause, to_replacement
from burncloud_images.emulator.errors import HTTPAnswer, RefusedRequest
from burncloud_images.emulator.faults import Fault, FaultPlan
from burncloud_images.emulator.handler import RequestHandler, ServerState, check_key
from burncloud_images.emulator.ledger import (
    Idempotency,
    IdempotencyKeys,
    Ledger,
    LedgerWriter,
    ResultDownload,
    TaskPoll,
)
from burncloud_images.emulator.model_limits import MODELS
from burncloud_images.emulator.result_urls import PREFIX, ResultCache, to_epoch, to_http_date
from burncloud_images.emulator.tasks import PREFIX as TASKS
from burncloud_images.emulator.tasks import TaskList

GRACE = 0.5
"""Seconds to wait for answers in progress when the server stops."""


class UnfiredFaultWarning(UserWarning):
    """A scripted fault never struck, so the test did not test it."""


class Emulator:
    """
    The images API on this machine.

    Args:
        faults: What goes wrong, in this order, each with the first request that it matches.
        host: Address to listen on.
        port: Port to listen on; 0 for any free one.
        api_key: The only key that is accepted.
        url_lifetime: Seconds for which a result URL is valid.
        latency: Seconds before each answer.
        clock: Returns the time for result URLs and dates: seconds since 1970, or an aware datetime.
        idempotency: What happens with an `Idempotency-Key` that was seen: `none` bills again, as gateways probably
            do, `replay` repeats the first answer and `reject` refuses.
        tasks: Whether requests become tasks, which are billed when they are accepted and whose images are asked for
            later, as some gateways do; requests that stream do not.
        task_wait: Seconds after which the server wants to be asked for a task, and again.
        tls: Whether to serve HTTPS: True for a new certificate, whose authority is in the file `ca`, or a context of
            your own.

    Leaving its block warns with `UnfiredFaultWarning` if a scripted fault is still waiting.
    """

    def __init__(  # noqa: PLR0913 (options of a server)
        self,
        *,
        faults: Iterable[Fault] = (),
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: str = "sk-emulator",
        url_lifetime: float = 3600.0,
        latency: float = 0.0,
        clock: Callable[[], float | datetime] = time.time,
        idempotency: Idempotency = "none",
        tls: bool | ssl.SSLContext = False,
        tasks: bool = False,
        task_wait: float = 0.05,
    ) -> None:
        self.api_key = api_key
        self.host = host
        self.port = port
        self.latency = latency
        self.tls = tls
        self.certificate: ServerCertificate | None = None
        self.ledger_writer = LedgerWriter()
        self.fault_plan = FaultPlan(faults)
        self.idempotency_keys = IdempotencyKeys(idempotency)
        self.clock = lambda: to_epoch(clock())
        self.result_cache = ResultCache(self.clock, url_lifetime)
        self.tasks = TaskList(task_wait) if tasks else None
        self.runner: web.AppRunner | None = None
        self.state: ServerState | None = None

    @property
    def base_url(self) -> str:
        """The base URL for a client, including `/v1`."""
        if not self.port:
            raise RuntimeError("the emulator has no address until it is started")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}/v1"

    @property
    def ca(self) -> Path | None:
        """A PEM file for clients to trust, as in `Network(ca=emulator.ca)`; None unless started with `tls=True`."""
        return self.certificate.authority if self.certificate is not None else None

    @property
    def ledger(self) -> Ledger:
        """What has arrived and what was billed so far."""
        return self.ledger_writer.to_ledger()

    @property
    def unfired(self) -> tuple[Fault, ...]:
        """The scripted faults that still wait for a request."""
        return self.fault_plan.unfired

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()
        if error is None and self.unfired:
            waiting = ", ".join(str(fault.to_json()) for fault in self.unfired)
            warnings.warn(f"these faults never struck: {waiting}", UnfiredFaultWarning, stacklevel=2)

    async def start(self) -> None:
        """
        Listen.

        Raises:
            ModuleNotFoundError: Pillow is missing, or trustme with `tls=True`.
            OSError: The port is taken.
        """
        require_pillow()
        from burncloud_images.emulator.renderer import Renderer

        context = self.tls if isinstance(self.tls, ssl.SSLContext) else None
        if self.tls is True:
            self.certificate = issue_certificate(self.host)
            context = self.certificate.context
        self.state = ServerState(
            api_key=self.api_key,
            latency=self.latency,
            clock=self.clock,
            ledger_writer=self.ledger_writer,
            fault_plan=self.fault_plan,
            idempotency_keys=self.idempotency_keys,
            result_cache=self.result_cache,
            renderer=Renderer(),
            closing=asyncio.Event(),
            tasks=self.tasks,
        )
        self.runner = web.AppRunner(to_application(self.state), access_log=None, shutdown_timeout=GRACE)
        await self.runner.setup()
        try:
            await web.TCPSite(self.runner, self.host, self.port, ssl_context=context).start()
        except OSError:
            await self.stop()
            raise
        self.port = self.runner.addresses[0][1]

    async def stop(self) -> None:
        """Close every connection and wait for pictures in progress."""
        if self.state is None or self.runner is None:
            return
        self.state.closing.set()
        await self.runner.cleanup()
        for _ in range(3):  # aiohttp cancels handlers that still read from a peer, and does not wait for them
            await asyncio.sleep(0)
        self.state.renderer.close()
        self.state = self.runner = None
        if self.certificate is not None:
            self.certificate.close()
            self.certificate = None


def require_pillow() -> None:
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        message = "The emulator draws its images with Pillow: pip install 'burncloud-images[emulator]'"
        raise ModuleNotFoundError(message, name="PIL") from error


@attrs.frozen
class Routes:
    """
    The handlers of all routes.

    Attributes:
        state: What all requests share.
    """

    state: ServerState

    def bill(self, operation: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Return the handler of an endpoint that bills."""

        async def handle(request: web.Request) -> web.StreamResponse:
            handler = RequestHandler(
                state=self.state, request=request, operation=operation, request_id=new_request_id()
            )
            return await handler.run()

        return handle

    async def models(self, request: web.Request) -> web.StreamResponse:
        try:
            check_key(request, self.state.api_key)
        except RefusedRequest as refusal:
            return await self.send(request, refusal.answer)
        models = [to_model(name, shutdown) for name, shutdown in MODELS.items()]
        answer = HTTPAnswer(body=json.dumps({"object": "list", "data": models}).encode())
        return await self.send_with_fault(request, answer, self.state.fault_plan.next("models"))

    async def download(self, request: web.Request) -> web.StreamResponse:
        index = self.state.ledger_writer.open_download(
            ResultDownload(
                path=request.path,
                authorization="Authorization" in request.headers,
                range=request.headers.get("Range"),
                if_range=request.headers.get("If-Range"),
            )
        )
        fault = self.state.fault_plan.next("downloads")
        answer = self.state.result_cache.answer(
            request.path, request.query_string, request.headers, store=fault.store if fault else None
        )
        if fault is not None and fault.answers:
            answer = to_replacement(fault)
        if fault is None or not fault.silent:
            cut_at = fault.offset(len(answer.body)) if fault is not None and fault.place == "answer" else None
            self.state.ledger_writer.update_download(index, answer.status, len(answer.body[:cut_at]))
        return await self.send_with_fault(request, answer, fault)

    async def poll(self, request: web.Request) -> web.StreamResponse:
        """Answer a question about a task."""
        tasks, task_id = self.state.tasks, request.match_info["id"]
        if tasks is None:
            return await self.unknown(request)
        fault = self.state.fault_plan.next("tasks")
        task = None
        try:
            check_key(request, self.state.api_key)
            task = tasks.ask(task_id) if fault is None or not (fault.answers or fault.silent) else None
            answer = tasks.answer(task) if task is not None else HTTPAnswer()
        except RefusedRequest as refusal:
            answer = refusal.answer
        if task is not None and task.state == "failed" and task.fault == "refunded":
            self.state.ledger_writer.update(task.number, billed=False, images=0, refunded=True)
        replaced = to_replacement(fault).status if fault is not None and fault.answers else answer.status
        status = None if fault is not None and fault.silent else replaced
        state = task.state if task is not None else None
        self.state.ledger_writer.add_poll(TaskPoll(task=task_id, status=status, state=state))
        return await self.send_with_fault(request, answer, fault)

    async def ledger(self, request: web.Request) -> web.StreamResponse:
        ledger = json.dumps(self.state.ledger_writer.to_ledger().to_json(), ensure_ascii=False)
        return await self.send(request, HTTPAnswer(body=ledger.encode()))

    async def unknown(self, request: web.Request) -> web.StreamResponse:
        message = f"Invalid URL ({request.method} {request.path})"
        return await self.send(request, RefusedRequest(message, status=404).answer)

    async def send_with_fault(
        self, request: web.Request, answer: HTTPAnswer, fault: Fault | None
    ) -> web.StreamResponse:
        if fault is None:
            return await self.send(request, answer)
        await pause(fault.delay, self.state.closing)
        if fault.silent:
            await cut(request, fault.cut or "close", self.state.closing)
            return GONE.response
        answer = (
            to_replacement(fault)
            if fault.answers
            else attrs.evolve(answer, headers=merge_headers(answer.headers, fault))
        )
        return await self.send(request, answer, fault)

    async def send(self, request: web.Request, answer: HTTPAnswer, fault: Fault | None = None) -> web.StreamResponse:
        about = {"Date": to_http_date(self.state.clock()), "x-request-id": new_request_id()}
        answer = attrs.evolve(answer, headers={**about, **answer.headers})
        return (await deliver(request, answer, fault, self.state.closing)).response


def new_request_id() -> str:
    return f"req_{uuid.uuid4().hex}"


def to_model(name: str, shutdown: str | None) -> dict[str, object]:
    model = {"id": name, "object": "model", "created": 1_745_625_600, "owned_by": "openai"}
    return {**model, "shutdown_date": shutdown} if shutdown else model


def to_application(state: ServerState) -> web.Application:
    routes = Routes(state)
    application = web.Application()
    for operation in ("generations", "edits", "variations"):
        application.router.add_post(f"/v1/images/{operation}", routes.bill(operation))
    application.router.add_get("/v1/models", routes.models)
    application.router.add_get(TASKS + "{id}", routes.poll)
    application.router.add_get("/emulator/ledger", routes.ledger)
    application.router.add_get(PREFIX + "{name}", routes.download)
    application.router.add_route("*", "/{rest:.*}", routes.unknown)
    return application
