"""URLs: what they say, what they cannot smuggle into a request."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mihomo_tproxy.keeper.url import MAX_URL, Url, follow, parse_url


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://a.test", Url("http", "a.test", 80, "/")),
        ("HTTPS://A.Test/x?y=1#z", Url("https", "a.test", 443, "/x?y=1")),
        ("http://a.test:8080?q", Url("http", "a.test", 8080, "/?q")),
        ("https://[2001:DB8::1]:8443/", Url("https", "2001:db8::1", 8443, "/")),
        ("http://a.test:/x", Url("http", "a.test", 80, "/x")),
        ("http://a.test/a b\r\nX: y", Url("http", "a.test", 80, "/a%20b%0D%0AX:%20y")),
        ("http://a.test/%20/ü", Url("http", "a.test", 80, "/%20/%C3%BC")),
        ("http://bücher.test/", Url("http", "xn--bcher-kva.test", 80, "/")),
        ("http://u:p%40@a.test/", Url("http", "a.test", 80, "/", "Basic dTpwQA==")),
        ("http://u@a.test/", Url("http", "a.test", 80, "/", "Basic dTo=")),
    ],
)
def test_parsed(text, expected):
    assert parse_url(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "a.test", "ftp://a.test/", "http://", "http:///x", "http://a.test:0/",
        "http://a.test:65536/", "http://a.test:x/", "http://a b/", "http://[::1/", "http://a\r\n/",
        "http://a:b:c/", f"http://a.test/{'x' * MAX_URL}", "http://" + "x" * 300,
    ],
)  # fmt: skip
def test_refused(text):
    with pytest.raises(ValueError, match=r"URL|host|port"):
        parse_url(text)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("http://b.test/x", "http://b.test/x"),
        ("//b.test/x", "https://b.test/x"),
        ("/x", "https://a.test/x"),
        ("x", "https://a.test/one/x"),
        ("../x?y", "https://a.test/x?y"),
        ("../../../x", "https://a.test/x"),
        ("./", "https://a.test/one/"),
        ("..", "https://a.test/"),
        ("?z", "https://a.test/one/two?z"),
        ("#part", "https://a.test/one/two?q"),
        ("x\r\nX: y", "https://a.test/one/x%0D%0AX:%20y"),
    ],
)
def test_followed(location, expected):
    """Most of these are RFC 3986, 5.4."""
    assert str(follow(parse_url("https://a.test/one/two?q"), location)) == expected


@pytest.mark.parametrize("location", ["javascript:x", "file:///etc/passwd", "//", "x" * 9000])
def test_leads_nowhere(location):
    with pytest.raises(ValueError, match=r"URL|host"):
        follow(parse_url("https://a.test/"), location)


def test_host_header():
    assert parse_url("http://[::1]:80/").host_header == "[::1]"
    assert parse_url("https://a.test:80/").host_header == "a.test:80"


@settings(deadline=None)
@given(st.text(max_size=60))
def test_never_breaks_a_request(text):
    base = parse_url("http://a.test/x/y")
    for reference in (text, f"http://{text}", f"http://a.test/{text}"):
        try:
            url = follow(base, reference)
        except ValueError:
            continue
        line = f"{url.target}{url.host}{url.host_header}{url.authorization.replace(' ', '')}"
        assert all("!" <= character <= "~" for character in line)
        assert url.target.startswith("/")
