"""
A web application that paints: `GET /?prompt=a+sea+otter` answers with the image.

It reads BURNCLOUD_API_KEY, BURNCLOUD_API_BASE_URL and BURNCLOUD_MODEL. To spend nothing, run

    burncloud-images emulator --port 8000

in another terminal and set

    BURNCLOUD_API_BASE_URL=http://127.0.0.1:8000/v1 BURNCLOUD_API_KEY=sk-emulator

Usage: python examples/web_application.py [PORT]
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from html import escape

from aiohttp import web

from burncloud_images import AsyncImagesClient, errors

IMAGES = web.AppKey("images", AsyncImagesClient)

FORM = "<form>What shall it be? <input name=prompt size=60 autofocus> <button>Paint</button></form>"

STATUSES: dict[type[errors.ImagesError], int] = {
    errors.InvalidRequestError: 400,
    errors.BadRequestError: 400,
    errors.ModerationError: 422,
    errors.RateLimitError: 503,
    errors.ServerError: 502,
    errors.ConnectionFailedError: 502,
    errors.OutcomeUnknownError: 502,
}


async def open_client(app: web.Application) -> AsyncIterator[None]:
    """Give the application one client, from its start to its end."""
    async with AsyncImagesClient(max_connections=20) as app[IMAGES]:
        yield


async def paint(request: web.Request) -> web.Response:
    """Answer with an image, or say in one sentence why there is none."""
    prompt = request.query.get("prompt")
    if prompt is None:
        return web.Response(text=FORM, content_type="text/html")
    try:
        result = await request.app[IMAGES].generate(prompt, size="1024x1024")
    except errors.ImagesError as error:
        status = next((status for kind, status in STATUSES.items() if isinstance(error, kind)), 500)
        print(error, file=sys.stderr)  # with the request id, and whether it was billed
        return web.Response(text=f"<p>{escape(error.message)}</p>{FORM}", status=status, content_type="text/html")
    image = result.image
    return web.Response(body=image.data, content_type=image.media_type or "application/octet-stream")


def make_application() -> web.Application:
    """Return the application."""
    app = web.Application()
    app.cleanup_ctx.append(open_client)
    app.router.add_get("/", paint)
    return app


if __name__ == "__main__":
    web.run_app(make_application(), host="127.0.0.1", port=int(sys.argv[1]) if sys.argv[1:] else 8080)
