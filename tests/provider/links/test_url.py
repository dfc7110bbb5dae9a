"""Links as URLs."""

from __future__ import annotations

import pytest

from mihomo_tproxy.provider.links.url import (
    decode_base64,
    decode_raw_base64,
    decode_url_base64,
    parse_query,
    parse_url,
)


def test_parts() -> None:
    url = parse_url("x://us%40er:p%3Aw@a.test:443/path?a=1&b=%20+&a=2#n%20a+m#e")
    assert url.username == "us@er"
    assert url.password == "p:w"  # noqa: S105
    assert (url.host, url.port) == ("a.test", "443")
    assert url.query == {"a": "1", "b": "  "}
    assert url.fragment == "n a+m#e"


@pytest.mark.parametrize(
    ("authority", "host", "port"),
    [
        ("a.test", "a.test", ""),
        ("[::1]:443", "::1", "443"),
        ("[::1]", "::1", ""),
        ("::1:443", "::1", "443"),
        ("a.test:", "a.test", ""),
        ("a%C3%A9.test:1", "aé.test", "1"),
        ("", "", ""),
    ],
)
def test_host_and_port(authority: str, host: str, port: str) -> None:
    url = parse_url(f"x://{authority}")
    assert (url.host, url.port) == (host, port)


def test_user_info() -> None:
    assert parse_url("x://a.test").password is None
    assert parse_url("x://user@a.test").user_info == "user"
    assert parse_url("x://a@b:c@a.test").username == "a@b"
    assert parse_url("x://%75:p%40!%7E@a.test").user_info == "u:p%40%21~"


@pytest.mark.parametrize(
    "link",
    [
        "x://a.test#%zz",
        "x://a.test/%zz",
        "x://%z@a.test",
        "x://us er@a.test",
        "x://us|er@a.test",
        "x://h st:1",
        "x://ho%20st:1",
        "x://a.test:1x",
        "x://[::1:1",
        "x://[::1]x",
        "x://a.test\t",
    ],
)
def test_no_url(link: str) -> None:
    with pytest.raises(ValueError, match="a "):
        parse_url(link)


def test_query_leaves_out_what_is_bad() -> None:
    assert parse_query("a=%zz&b;c=1&d&=e&&f=1=2") == {"d": "", "": "e", "f": "1=2"}


def test_base64() -> None:
    assert decode_base64("YTpi") == "a:b"
    assert decode_base64("YTo=") == decode_base64("YTo") == decode_base64("Y\nTo\r\n=") == "a:"
    assert decode_url_base64("Pz8_") == decode_base64("Pz8/") == "???"


@pytest.mark.parametrize("text", ["YTo==", "YT=o", "YTo_", "Y To", "YTpiY", "é"])
def test_no_base64(text: str) -> None:
    with pytest.raises(ValueError, match="not base64"):
        decode_base64(text)


def test_base64_of_one_kind() -> None:
    with pytest.raises(ValueError, match="without padding"):
        decode_raw_base64("YTo=")
    with pytest.raises(ValueError, match="not URL-safe"):
        decode_url_base64("Pz8/")
