"""`emulator`: serves an emulator of the API until Ctrl-C."""

from __future__ import annotations

import asyncio
import shlex
import signal

from burncloud_images.cli.exit_codes import UsageError
from burncloud_images.cli.options import EmulatorOptions
from burncloud_images.cli.outputs import print_bytes
from burncloud_images.cli.reporting import Reporter


async def serve(serving: EmulatorOptions, reporter: Reporter) -> int:
    """
    Serve until SIGINT or SIGTERM; print variables for a shell first, and a summary of the requests at the end.

    Raises:
        UsageError: An option cannot be used.
    """
    from burncloud_images.emulator import Emulator, Fault

    try:
        faults = [Fault.parse(text) for text in serving.fault]
    except ValueError as error:
        raise UsageError(f"--fault: {error}.") from None
    server = Emulator(
        faults=faults,
        host=serving.host,
        port=serving.port,
        latency=serving.latency,
        url_lifetime=serving.url_lifetime,
        tls=serving.tls,
        tasks=serving.tasks,
    )
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    try:
        await server.start()
    except ModuleNotFoundError as error:
        raise UsageError(f"{error}.") from None
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"The emulator cannot listen on {serving.host}:{serving.port}: {reason}.") from None
    try:
        lines = {"BURNCLOUD_API_BASE_URL": server.base_url, "BURNCLOUD_API_KEY": server.api_key}
        if server.ca is not None:
            lines["SSL_CERT_FILE"] = str(server.ca)  # OpenSSL's own variable, so curl and other clients know it too
        print_bytes("".join(f"export {name}={shlex.quote(value)}\n" for name, value in lines.items()).encode())
        reporter.note("serving until Ctrl-C; run the lines above in another shell to use it")
        if server.ca is not None:
            reporter.note("SSL_CERT_FILE makes that shell trust this server's certificate alone; Network(ca=…) and")
            reporter.note("--cacert take the same file")
        await ended.wait()
    finally:
        await server.stop()
    ledger = server.ledger
    reporter.say(
        "ledger",
        f"{len(ledger.requests)} requests, {ledger.billed_requests} of them billed, "
        f"{ledger.billed_images} images, {len(ledger.downloads)} downloads",
    )
    return 0
