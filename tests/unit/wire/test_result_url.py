"""Result URLs are read as browsers read them, however a server writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud_images.wire.result_url import resolve_url

BASE = "https://api.example:8443/v1/images/generations"
ROOT = "https://api.example:8443"

URLS = {
    "https://cdn.example/a.png?sig=a%2Bb/c=&x": "https://cdn.example/a.png?sig=a%2Bb/c=&x",
    "/files/a.png": f"{ROOT}/files/a.png",
    "a.png": f"{ROOT}/v1/images/a.png",
    "./a.png": f"{ROOT}/v1/images/a.png",
    "../files/a.png?x=1": f"{ROOT}/v1/files/a.png?x=1",
    "?id=1": f"{BASE}?id=1",
    "//cdn.example/a.png": "https://cdn.example/a.png",
    "\\\\cdn.example\\a.png": "https://cdn.example/a.png",
    " https://cdn.example/a.png\n": "https://cdn.example/a.png",
    "\thttps://cdn.exa\nmple/a\r.png\x00": "https://cdn.example/a.png",
    "https://cdn.example/my picture.png?name=my picture": "https://cdn.example/my%20picture.png?name=my%20picture",
    "https://cdn.example/水獭.png": "https://cdn.example/%E6%B0%B4%E7%8D%AD.png",
    "/水獭 1.png": f"{ROOT}/%E6%B0%B4%E7%8D%AD%201.png",
    "https://cdn.example/%E6%B0%B4 %2F.png": "https://cdn.example/%E6%B0%B4%20%2F.png",
    'https://cdn.example/"<>.png ': "https://cdn.example/%22%3C%3E.png",
    "https://bücher.example/ä.png": "https://xn--bcher-kva.example/%C3%A4.png",
    "HTTPS://cdn.example/a b.png": "https://cdn.example/a%20b.png",
    "data:image/png;base64,iVBORw0KGgo=": "data:image/png;base64,iVBORw0KGgo=",
    "ftp://cdn.example/a.png": "ftp://cdn.example/a.png",
    "https://[::1/a.png b": "https://[::1/a.png b",
    "": "",
    " ": " ",
}


@pytest.mark.parametrize(("url", "expected"), URLS.items())
def test_a_result_url_is_read_as_a_browser_reads_it(url, expected):
    """What a browser would request is requested, and what no browser could read stays as it is."""
    assert expected == resolve_url(url, BASE)


@given(
    st.text()
    | st.lists(st.sampled_from(["https:", "//", "cdn.example", "/", "?", "#", "%", " ", "[", "水"])).map("".join)
)
def test_any_text_is_read(url):
    """Nothing raises, and what was resolved is its own form."""
    once = resolve_url(url, BASE)

    assert once == resolve_url(once, BASE)
