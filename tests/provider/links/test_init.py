"""Lists of share links. What is expected of them is what mihomo 1.19.32 does."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis.strategies import sampled_from, text

from mihomo_tproxy.provider.links import (
    MAX_LINK,
    OTHER_SCHEMES,
    SCHEMES,
    convert_link,
    convert_links,
)
from mihomo_tproxy.provider.links.names import Names


def names(content: str, limit: int = 100) -> list[object]:
    return [proxy["name"] for proxy in convert_links(content, limit).proxies]


def test_a_list() -> None:
    content = "# comment\n\nsocks5://a.test:1#one\r\n  socks://a.test:1#two \nhttp://a.test:2\n"
    assert names(content) == ["one", "two", "a.test:2"]


def test_schemes_in_either_case() -> None:
    assert names("SOCKS5://a.test:1#x") == ["x"]


def test_a_link_without_a_name() -> None:
    content = "trojan://p@a.test:1\ntrojan://p@b.test:1\nsocks5://a.test:1\n"
    assert names(content) == ["a.test:1-01", "-01", "a.test:1"]


def test_what_brings_nothing_is_counted_by_reason() -> None:
    content = "tuic://x@a.test:1\nhy2://x@a.test:2#x\nfoo://x\nsocks5://a.test\nvmess://e30=\n"
    assert convert_links(content, 9).skipped == {
        "tuic:// link: not supported": 1,
        "hy2:// link: not supported": 1,
        "link of an unknown scheme": 1,
        "socks5:// link: no port": 1,
        "vmess:// link: no name ('ps')": 1,
    }


def test_a_list_has_a_limit() -> None:
    links = convert_links("socks5://a.test:1\n" * 5, 3)
    assert len(links.proxies) == 3
    assert links.skipped == {"more links than are taken": 2}


def test_bad_links_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mihomo_tproxy.provider.links.MAX_TRIED", 2)
    links = convert_links("ss://x\nss://x\nsocks5://a.test:1\n", 3)
    assert links.proxies == []
    assert links.skipped["more links than are taken"] == 1


def test_a_link_has_a_limit() -> None:
    with pytest.raises(ValueError, match="longer than"):
        convert_link("socks5://a.test:1#" + "x" * MAX_LINK, Names())


def test_names_are_numbered_over_all_schemes() -> None:
    content = "socks5://a.test:1#x\nhttp://a.test:1#x\nvless://id@a.test#x\ntrojan://p@a.test:1#x"
    assert names(content) == ["x", "x-01", "x-03"]


@given(sampled_from([*SCHEMES, *OTHER_SCHEMES, "", "x"]), text(max_size=200))
def test_only_value_errors_escape(scheme: str, body: str) -> None:
    try:
        convert_link(f"{scheme}://{body}", Names())
    except ValueError:
        pass


@given(sampled_from([*SCHEMES]), text(string.ascii_letters + "+/=:@?&#%[]", max_size=60))
def test_only_value_errors_escape_what_looks_like_a_link(scheme: str, body: str) -> None:
    try:
        proxy = convert_link(f"{scheme}://{body}", Names())
    except ValueError:
        return
    assert isinstance(proxy["name"], str)
