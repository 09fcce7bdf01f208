"""
Result URLs as servers write them: relative, with spaces, line ends and letters that have to be encoded.

They are read as browsers read them, since nobody who tried one in a browser would call it broken. Whether they may be
fetched is another question.

Source:
    WHATWG URL Standard, "basic URL parser", and its percent-encode sets for paths and queries.
"""

from __future__ import annotations

import re
from urllib.parse import quote, urljoin, urlsplit

CONTROLS = "".join(map(chr, range(0x21)))
IGNORED = re.compile(r"[\t\n\r]")
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
SPECIAL = re.compile(r"https?:", re.IGNORECASE)
CLEAN = re.compile(r"[!#-;=?-~]*")
KEPT = "%!#$&'()*+,/:;=?@[]\\^_`{|}~-."
"""What stays as it is besides letters and digits; `%` does, as it begins what is encoded already."""


def resolve_url(url: str, base: str) -> str:
    """
    Return *url* as an absolute URL that can be requested; what cannot be read is returned as it is.

    Args:
        url: As the server wrote it.
        base: The URL that was requested.
    """
    text = IGNORED.sub("", url.strip(CONTROLS))
    if not text:
        return url
    try:
        if not SCHEME.match(text) or SPECIAL.match(text):
            text = encode(text.replace("\\", "/") if "\\" in text else text)
        return text if SCHEME.match(text) else urljoin(base, text)
    except ValueError:
        return url


def encode(url: str) -> str:
    """Encode what a URL cannot hold: the host by IDNA, and all else in percent."""
    if CLEAN.fullmatch(url):
        return url
    parts = urlsplit(url)
    host = parts.netloc if parts.netloc.isascii() else to_ascii(parts.netloc)
    return parts._replace(
        netloc=host, **{name: quote(getattr(parts, name), safe=KEPT) for name in ("path", "query", "fragment")}
    ).geturl()


def to_ascii(host: str) -> str:
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return host
