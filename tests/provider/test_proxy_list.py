"""Files of proxy providers."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis.strategies import binary, sampled_from

from mihomo_tproxy.provider.proxy_list import (
    MAX_BYTES,
    MAX_MARKS,
    MAX_PROXIES,
    read_proxy_list,
    take_entries,
)

LINKS = b"socks5://a.test:1#one\nsocks5://a.test:1#two\n"


def names(data: bytes) -> list[object]:
    return [entry["name"] for entry in read_proxy_list(data).entries]


@pytest.mark.parametrize(
    "data",
    [
        LINKS,
        b"\xef\xbb\xbf" + LINKS,
        LINKS.replace(b"\n", b"\r\n"),
        b"# comment\n// other\n\n" + LINKS,
        b64encode(LINKS),
        b64encode(LINKS).rstrip(b"="),
        b" " + b64encode(LINKS) + b" \r\n",
        b"proxies: [{name: one}, {name: two}]",
        b"# comment: x\nother: {}\nproxies:\n- name: one\n- name: two\n",
    ],
)
def test_forms(data: bytes) -> None:
    assert names(data) == ["one", "two"]


def test_yaml_values_are_as_mihomo_types_them() -> None:
    assert read_proxy_list(b"proxies: [{name: 5, udp: yes}]").entries == [{"name": 5, "udp": "yes"}]


def test_what_is_no_entry_is_counted() -> None:
    listed = read_proxy_list(b"proxies: [x, {name: a}, 5]")
    assert listed.entries == [{"name": "a"}]
    assert listed.skipped == {"not a mapping": 2}


def test_number_of_entries_is_bounded() -> None:
    listed = take_entries([{"name": "a"}] * (MAX_PROXIES + 2))
    assert len(listed.entries) == MAX_PROXIES
    assert listed.skipped == {"more entries than are taken": 2}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "neither links nor YAML|no links"),
        (b"foo: 1", "with a list `proxies`"),
        (b"proxies:\n", "with a list `proxies`"),
        (b"proxies: {}", "with a list `proxies`"),
        (b"proxies: []", "is empty"),
        (b"proxies: [", "not YAML"),
        (b"proxies: [\xff]", "not UTF-8"),
        (b"<html>nothing here</html>", "list `proxies`"),
        (b"tuic://x@a.test:1", "tuic:// link: not supported"),
        (b64encode(b"hello"), "no links in it"),
        (b"\n" * (MAX_MARKS + 1) + b"proxies: []", "too many values"),
        (bytes(MAX_BYTES + 1), "larger than 16 MiB"),
        (b"proxies: " + b"[" * 100, "nested deeper"),
        (b"a: &a [1,1]\nproxies: [*b]", "not a mapping|alias|proxies"),
    ],
)
def test_no_list(data: bytes, reason: str) -> None:
    try:
        listed = read_proxy_list(data)
    except ValueError as error:
        assert any(part in str(error) for part in reason.split("|"))  # noqa: PT017
    else:
        assert listed.entries == []


def test_url_safe_base64_is_none() -> None:
    with pytest.raises(ValueError, match="list `proxies`"):
        read_proxy_list(urlsafe_b64encode(b"socks5://a.test:1#\xff\xff??>>\n"))


@given(sampled_from([b"", b"proxies:\n- ", b"proxies: [{", b"ss://", b"vmess://"]), binary())
def test_only_value_errors_escape(start: bytes, data: bytes) -> None:
    try:
        assert all(isinstance(entry, dict) for entry in read_proxy_list(start + data).entries)
    except ValueError:
        pass


def test_links_after_many_comments() -> None:
    comments = b"# x\n\n // y\n" * 10_000
    assert names(comments + b"socks5://a.test:1#one\n") == ["one"]
