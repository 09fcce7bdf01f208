"""A gateway that makes a task of each request."""

from __future__ import annotations

import json

from pictures import png

IMAGE = png(64, 64)
QUEUED = {"id": "t-1", "object": "image.generation.task", "status": "queued"}


class Answer:
    """One answer: its status, its document or text, and headers; *cut* sends half of it."""

    def __init__(self, body=b"", status=200, *, cut=False, **headers):
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.status, self.cut = status, cut
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Gateway:
    """Accepts each request with *accepted*, and answers questions one after another; the last one stays."""

    def __init__(self, *polls, accepted=None):
        self.accepted = accepted or Answer(QUEUED, 202)
        self.polls = list(polls)
        self.posts, self.gets = [], []

    async def __call__(self, _reader, writer, request):
        method, path, _ = request.decode("latin-1").split(" ", 2)
        if method == "POST":
            self.posts.append(request)
            answer = self.accepted
        elif path.startswith("/image.png"):
            answer = Answer(IMAGE, Content_Type="image/png")
        else:
            self.gets.append(request)
            answer = self.polls.pop(0) if len(self.polls) > 1 else self.polls[0]
        if answer is None:
            return
        if callable(answer):
            answer = await answer()
        lines = [f"HTTP/1.1 {answer.status} X", f"Content-Length: {len(answer.body)}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        body = answer.body[: len(answer.body) // 2] if answer.cut else answer.body
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    @property
    def paths(self):
        return [request.split(b" ")[1].decode() for request in self.gets]
