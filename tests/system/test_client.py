"""The client as people use it, end to end."""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import sys
import threading
import traceback

import aiohttp
import pytest
from fakes import until
from pictures import png

from burncloud_images import (
    AsyncImagesClient,
    Directory,
    EditRequest,
    FileID,
    GenerationRequest,
    ImageURL,
    Network,
    RetryPolicy,
    VariationRequest,
    errors,
)
from burncloud_images.emulator import Emulator, Fault
from burncloud_images.model.media import examine_bytes

pytestmark = pytest.mark.ways("tls")

SMALL = {"model": "gpt-image-2", "size": "1024x640"}
CLOSED = "http://127.0.0.1:9"


class TestVerbs:
    """Three verbs, three endpoints."""

    async def test_generate_returns_images_of_the_size_asked_for(self, set_up):
        """Base64 answers become bytes; the sizes are read from them."""
        bench = await set_up()
        result = await bench.client.generate(
            "a sea otter", model="gpt-image-2", size="1152x640", n=2, output_format="webp"
        )

        assert [(1152, 640), (1152, 640)] == [(image.width, image.height) for image in result.images]
        assert {"image/webp"} == {image.media_type for image in result.images}
        assert all(examine_bytes(image.data).complete for image in result.images)
        assert result.usage.total_tokens > 0
        assert "1152x640" == result.size
        assert result.created.tzinfo is not None
        assert result.request_id

    async def test_generate_fetches_what_comes_as_urls(self, set_up):
        """Whether the server sends base64 or a URL makes no difference but for the URL."""
        bench = await set_up()
        result = await bench.client.generate("a sea otter", model="dall-e-3", size="1024x1024")

        assert result.image.data.startswith(b"\x89PNG")
        assert result.image.revised_prompt
        assert 3600 == (result.image.expires_at - result.created).total_seconds()
        (download,) = bench.emulator.ledger.downloads
        assert not download.authorization
        assert "sig=" not in repr(result)

    async def test_edit_sends_images_mask_and_prompt(self, set_up):
        """One call sends a path, bytes and a mask."""
        bench = await set_up()
        await bench.client.edit([png(), png(pad=9)], "a gift basket", mask=png(), **SMALL)

        (request,) = bench.emulator.ledger.requests
        assert "edits" == request.operation
        assert {("prompt", "a gift basket"), ("model", "gpt-image-2"), ("size", "1024x640")} == set(request.fields)
        assert ["image[]", "image[]", "mask"] == [part.name for part in request.parts]

    async def test_create_variation_sends_one_image(self, set_up):
        """A variation sends one image to the retired endpoint."""
        bench = await set_up()
        result = await bench.client.create_variation(png(), model="dall-e-2", n=2, size="256x256")

        assert 2 == len(result.images)
        assert "variations" == bench.emulator.ledger.requests[0].operation

    @pytest.mark.parametrize(
        ("verb", "request_class"),
        [("generate", GenerationRequest), ("edit", EditRequest), ("create_variation", VariationRequest)],
    )
    def test_verbs_take_exactly_what_the_request_class_takes(self, verb, request_class):
        """One class per endpoint is the only parameter list."""
        own = list(inspect.signature(getattr(AsyncImagesClient, verb)).parameters.values())

        assert list(inspect.signature(request_class).parameters.values()) == own[1:]

    async def test_models_lists_what_the_gateway_serves(self, set_up):
        """The list of models is returned, and nothing is billed."""
        bench = await set_up(Fault(status=503, operation="models"))
        models = await bench.client.models()

        assert "gpt-image-2" in {model.id for model in models}
        assert 0 == bench.posts

    async def test_models_says_what_is_wrong(self, set_up):
        """Listing models raises the same errors as any request."""
        bench = await set_up(
            Fault(status=401, operation="models"), Fault(status=200, body="<html>", operation="models")
        )
        with pytest.raises(errors.AuthenticationError):
            await bench.client.models()
        with pytest.raises(errors.ProtocolError):
            await bench.client.models()


class TestReferences:
    """Images that are somewhere else."""

    async def test_a_url_is_fetched_and_uploaded(self, set_up):
        """An `ImageURL` without `by_reference` is downloaded and uploaded."""
        bench = await set_up()
        made = await bench.client.generate("otter", model="dall-e-2", size="256x256")
        await bench.client.edit(ImageURL(made.image.url), "a beret", **SMALL)

        part = bench.emulator.ledger.requests[-1].parts[0]
        assert ("image", "image/png", len(made.image.data)) == (part.name, part.content_type, part.size)

    async def test_a_url_is_sent_as_it_is_by_reference(self, set_up):
        """With `by_reference` the URL is sent as JSON in `images`."""
        bench = await set_up()
        made = await bench.client.generate("otter", model="dall-e-2", size="256x256")
        await bench.client.edit([ImageURL(made.image.url)], "a beret", by_reference=True, **SMALL)

        request = bench.emulator.ledger.requests[-1]
        assert "application/json" == request.headers["content-type"]
        assert "images" in dict(request.fields)

    async def test_a_file_id_needs_by_reference(self):
        """A `FileID` without `by_reference` is refused."""
        with pytest.raises(errors.InvalidRequestError, match="by_reference"):
            EditRequest(FileID("file-1"), "a beret")

    async def test_a_private_address_is_refused(self, set_up):
        """The address guard refuses a private URL as an input."""
        bench = await set_up()
        with pytest.raises(errors.DownloadRefusedError, match=r"127\.0\.0\.1") as caught:
            await bench.client.edit(ImageURL("https://127.0.0.1:9/x.png"), "a beret", **SMALL)

        assert 0 == bench.posts
        assert "Nothing was sent" in str(caught.value)


class TestOptions:
    """What a client can be told."""

    async def test_copies_share_connections_and_leave_them_open(self, set_up):
        """Copies share connections, and only the original closes them."""
        bench = await set_up(Fault(status=503))
        once = bench.client.with_options(retry=RetryPolicy(attempts=1))
        with pytest.raises(errors.ServerError):
            await once.generate("otter", **SMALL)
        await once.aclose()
        await bench.client.generate("otter", **SMALL)

        assert 2 == bench.posts

    async def test_the_clients_model_is_used_where_a_request_names_none(self, set_up):
        """A request's own model takes precedence over the client's."""
        bench = await set_up(model="gpt-image-2")
        await bench.client.generate("otter", size="1024x640")
        await bench.client.generate("otter", model="gpt-image-1", size="1024x1024")
        await bench.client.with_options(model=None).generate("otter", size="256x256")

        fields = [dict(request.fields) for request in bench.emulator.ledger.requests]
        assert ['"gpt-image-2"', '"gpt-image-1"', None] == [request.get("model") for request in fields]

    async def test_the_environment_is_read(self, monkeypatch):
        """Key, address and model come from the environment, the document's own spelling last."""
        async with Emulator() as emulator:
            monkeypatch.setenv("Burncloud_API_KEY", emulator.api_key)
            monkeypatch.setenv("Burncloud_API_BaseUrl", emulator.base_url.removesuffix("/v1"))
            monkeypatch.setenv("BURNCLOUD_MODEL", "gpt-image-2")
            monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-vendor")
            async with AsyncImagesClient() as client:
                await client.generate("otter", size="1024x640")

            assert "gpt-image-2" in dict(emulator.ledger.requests[0].fields)["model"]

    @pytest.mark.parametrize("kind", ["sync", "async"])
    async def test_a_key_can_be_asked_for(self, set_up, kind):
        """A key callable is asked before every attempt, so the key can rotate."""
        asked = []
        bench = await set_up(Fault(status=503))

        def ask():
            asked.append(1)
            return bench.emulator.api_key

        async def ask_async():
            return ask()

        async with AsyncImagesClient(
            ask if kind == "sync" else ask_async, bench.emulator.base_url, clock=bench.clock
        ) as client:
            await client.generate("otter", **SMALL)

        assert 2 == len(asked)

    @pytest.mark.parametrize("key", ["", "sk\nx", "sk x", "sk-\u2028", "密钥", 7, None])
    def test_a_key_that_no_header_can_carry_is_refused(self, key):
        """A key that a header cannot carry is refused without showing it."""
        with pytest.raises(errors.ConfigurationError) as caught:
            AsyncImagesClient(key)

        assert str(key) not in str(caught.value) or key in {"", None}

    async def test_a_key_callable_that_returns_no_key_is_refused(self, set_up):
        """Nothing is sent if the callable returns no key."""
        bench = await set_up()
        async with AsyncImagesClient(lambda: "sk\r\nHost: evil", bench.emulator.base_url) as client:
            with pytest.raises(errors.ConfigurationError):
                await client.generate("otter", **SMALL)

        assert 0 == bench.posts

    async def test_a_borrowed_session_is_not_closed(self, way):
        """A caller's session stays open, and its defaults do not reach result hosts."""
        connector = aiohttp.TCPConnector(ssl=way.client or True)
        async with (
            Emulator() as emulator,
            aiohttp.ClientSession(headers={"X-Own": "1"}, raise_for_status=True, connector=connector) as session,
        ):
            async with AsyncImagesClient(emulator.api_key, emulator.base_url, session=session) as client:
                await client.generate("otter", model="dall-e-2", size="256x256")
                with pytest.raises(errors.NotFoundError):
                    await client.generate("otter", model="no-such-model")

            assert not session.closed
            assert not emulator.ledger.downloads[0].authorization

    def test_rules_have_three_values(self):
        """Another value for `validation` is refused."""
        with pytest.raises(ValueError, match="validation"):
            AsyncImagesClient("sk-x", validation="loud")

    def test_the_key_is_shown_nowhere(self):
        """Neither the client's repr nor those of its parts show the key."""
        client = AsyncImagesClient("sk-canary")

        assert "canary" not in repr(client)
        assert "canary" not in repr(client._settings)

    async def test_an_observer_that_fails_costs_no_image(self, set_up):
        """An exception of `on_attempt` goes to the loop's exception handler, and the image is returned."""
        lost = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: lost.append(context["exception"]))

        def fail(_attempt):
            raise RuntimeError("the metrics are down")

        bench = await set_up(on_attempt=fail)
        result = await bench.client.generate("otter", **SMALL)
        asyncio.get_running_loop().set_exception_handler(None)

        assert result.image.data
        assert ["the metrics are down"] == [str(error) for error in lost]


class TestLifecycle:
    """One client, one loop, one end."""

    async def test_use_after_close_is_an_error(self, set_up):
        """Using a closed client is an error; closing it twice is not."""
        bench = await set_up()
        await bench.client.aclose()
        await bench.client.aclose()
        with pytest.raises(errors.ClientClosedError, match="closed"):
            await bench.client.generate("otter", **SMALL)

    async def test_use_from_another_loop_is_an_error(self, set_up):
        """Using a client from another event loop raises an error that says so."""
        bench = await set_up()
        await bench.client.models()
        caught = []

        def elsewhere():
            try:
                asyncio.run(bench.client.generate("otter", **SMALL))
            except errors.ClientClosedError as error:
                caught.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        await asyncio.get_running_loop().run_in_executor(None, thread.join)

        assert "another event loop" in str(caught[0])

    async def test_closing_ends_calls_in_flight(self, set_up):
        """Closing the client ends its calls with an error of this package."""
        bench = await set_up(Fault(cut="stall"))
        call = asyncio.create_task(bench.client.generate("otter", **SMALL))
        await until(lambda: bench.posts)
        await bench.client.aclose()
        with pytest.raises(errors.ImagesError):
            await call

    async def test_an_unused_client_needs_no_loop(self):
        """Creating a client opens nothing and needs no event loop."""
        await AsyncImagesClient("sk-x").aclose()

    async def test_many_calls_at_once(self, set_up):
        """One client serves many tasks, and waiting for a connection is not a failure."""
        bench = await set_up(max_connections=4)
        results = await asyncio.gather(*(bench.client.generate(f"otter {i}", **SMALL) for i in range(40)))

        assert 40 == len(results)
        assert (40, 40) == (bench.posts, bench.billed)


async def test_send_writes_into_a_directory(set_up, tmp_path):
    """Files are whole, named by the template, with the extension of their bytes."""
    bench = await set_up()
    sink = Directory(tmp_path / "new" / "folder", name="{slug}-{index}-{sha8}.{ext}", hash=True, durable=True)
    request = GenerationRequest("Ein Otter, Öl", n=2, output_format="jpeg", **SMALL)
    result = await bench.client.send(request, into=sink)

    for image in result.images:
        assert image.path.name.startswith(f"ein-otter-öl-{image.index + 1}-{image.sha256[:8]}")
        assert ".jpg" == image.path.suffix
        assert image.size == image.path.stat().st_size
    assert 2 == len(list((tmp_path / "new" / "folder").iterdir()))


async def test_private_result_hosts_need_a_word_of_the_operator(set_up):
    """A loopback API may return URLs of its own host; the guard refuses them for any other API."""
    bench = await set_up(network=Network(allowed_result_hosts=("127.0.0.1",)))
    result = await bench.client.generate("otter", model="dall-e-2", size="256x256")

    assert result.image.data


def test_importing_the_package_is_light():
    """Importing the package does not load aiohttp or asyncio."""
    heavy = {"aiohttp", "asyncio", "ssl", "logging", "sqlite3", "tenacity", "aiofiles", "PIL", "pybase64"}
    code = f"import sys, burncloud_images; print(sorted({heavy!r} & set(sys.modules)))"
    # Measuring coverage in the child would import for itself.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)

    assert "[]" == done.stdout.strip()


# --- where the address was set ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "variables", "network", "sentence"),
    [
        (CLOSED, {}, None, "The base URL was given as base_url."),
        (None, {"BURNCLOUD_API_BASE_URL": CLOSED}, None, "The base URL is set by the variable BURNCLOUD_API_BASE_URL."),
        (CLOSED, {}, Network(proxy=CLOSED), "The proxy is set by Network.proxy."),
        (CLOSED, {"HTTP_PROXY": CLOSED}, Network(trust_env=True), "The proxy is set by the variable HTTP_PROXY."),
    ],
)
async def test_a_failed_connection_says_where_its_address_was_set(monkeypatch, given, variables, network, sentence):
    """The person who reads the error can then change it there."""
    for name, value in {"NO_PROXY": "", "no_proxy": "", **variables}.items():
        monkeypatch.setenv(name, value)
    async with AsyncImagesClient("sk-1", given, network=network, retry=RetryPolicy(attempts=1)) as client:
        with pytest.raises(errors.ConnectionFailedError) as caught:
            await client.generate("otter")

    assert caught.value.message.endswith(sentence)


SECRET_KEY = "sk-canary-8d31"


@pytest.mark.parametrize(
    "options",
    [
        {"base_url": "http://images.example/v1"},
        {"base_url": "ftp://images.example/v1"},
        {"base_url": "https://images.example/v1#x"},
        {"base_url": "https://"},
        {"base_url": 5},
        {"dialect": "no-such-gateway"},
        {"session": object()},
        {"max_connections": "many"},
        {"network": "none"},
    ],
    ids=["http", "ftp", "fragment", "no host", "a number", "dialect", "session", "connections", "network"],
)
def test_a_client_that_cannot_be_made_shows_no_key(options):
    """Whatever is wrong with a client's arguments, a traceback that prints local variables does not print the key."""
    try:
        AsyncImagesClient(SECRET_KEY, **options)
    except Exception as error:  # noqa: BLE001 (whatever it is)
        found = traceback.TracebackException.from_exception(error, capture_locals=True)

        assert SECRET_KEY not in "".join(found.format())
