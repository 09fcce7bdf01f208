"""Forms as others read them: the standard library's parser of messages, and the names by the rule of browsers."""

from __future__ import annotations

import email
import email.policy
import re

import attrs

DISPOSITION = re.compile(r'form-data; name="([^"\r\n]*)"(?:; filename="([^"\r\n]*)")?')
ESCAPES = {"%0D": "\r", "%0A": "\n", "%22": '"'}


@attrs.frozen
class File:
    """A file in a form."""

    name: str
    filename: str
    content_type: str
    content: bytes


@attrs.frozen
class Form:
    """Texts and files, in order."""

    fields: list[tuple[str, str]]
    files: list[File]


def read_form(body: bytes, boundary: str) -> Form:
    """Return what *body* says; whatever is odd about it fails."""
    head = f"Content-Type: multipart/form-data; boundary={boundary}\r\n\r\n".encode()
    message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    assert not message.defects
    assert not message.preamble
    assert not message.epilogue
    form = Form([], [])
    for part in message.get_payload():
        assert not part.defects
        headers = dict(part.raw_items())
        name, filename = names_of(headers.pop("Content-Disposition"))
        content = part.get_payload(decode=True)
        if filename is None:
            assert not headers
            form.fields.append((name, content.decode()))
        else:
            form.files.append(File(name, filename, headers.pop("Content-Type"), content))
            assert not headers
    return form


def names_of(disposition: str) -> tuple[str, str | None]:
    """Return name and file name, which stand as UTF-8 but for three characters."""
    match = DISPOSITION.fullmatch(disposition.encode("ascii", "surrogateescape").decode())
    assert match, disposition
    name, filename = (
        group and re.sub("%0D|%0A|%22", lambda found: ESCAPES[found[0]], group) for group in match.groups()
    )
    return name, filename
