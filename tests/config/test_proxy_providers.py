"""`proxy-providers`: what they bring to a configuration."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from mihomo_tproxy.config import parse
from mihomo_tproxy.errors import ConfigError
from mihomo_tproxy.provider.proxy_content import validate

if TYPE_CHECKING:
    from pathlib import Path

    from mihomo_tproxy.config.schema import Config

REST = "type: socks5, server: a.test, port: 1"
FILE = f"proxies: [{{name: a, {REST}}}, {{name: b, {REST}}}]"


@pytest.fixture
def home(tmp_path: Path) -> str:
    return os.path.realpath(tmp_path)


def configured(home: str, entry: str, content: str | None = FILE, rest: str = "") -> Config:
    if content is not None:
        with open(os.path.join(home, "x.yaml"), "w", encoding="utf-8") as file:
            file.write(content)
    return parse(f"proxy-providers:\n  x: {entry}\n{rest}", home)


def names(config: Config) -> list[str]:
    return [spec.name for spec in config.provider_proxies]


def test_file(home: str) -> None:
    config = configured(home, "{type: file, path: x.yaml}")
    assert names(config) == ["a", "b"]
    (spec,) = config.proxy_providers
    assert spec.members == ("a", "b")
    assert spec.path == os.path.join(home, "x.yaml")
    assert config.warnings == ()


def test_a_download_is_validated_as_the_file_was(home: str) -> None:
    config = configured(home, "{type: http, url: 'http://u/', path: x.yaml, filter: a}")
    (spec,) = config.proxy_providers
    assert spec.members == ("a",)
    assert validate(FILE.encode(), spec.parsing) == 1


def test_inline(home: str) -> None:
    entry = f"{{type: inline, override: {{additional-prefix: p}}, payload: [{{name: a, {REST}}}]}}"
    assert names(configured(home, entry)) == ["pa"]


@pytest.mark.parametrize(
    ("entry", "content", "warning"),
    [
        ("{type: http, url: 'http://u/'}", None, "not downloaded yet; it has no proxies"),
        ("{type: file, path: none}", None, "there is no file"),
        ("{type: file, path: x.yaml}", "x: 1", "neither links nor YAML"),
        ("{type: file, path: x.yaml, filter: zzz}", FILE, "the filters leave none"),
        ("{type: file, path: x.yaml}", "proxies: [{name: a, type: tuic}]", "brings no proxy: type"),
    ],
)
def test_content_that_is_not_there(
    home: str, entry: str, content: str | None, warning: str
) -> None:
    config = configured(home, entry, content)
    assert names(config) == []
    (found,) = config.warnings
    assert found.startswith("line 2: proxy-providers.x: ")
    assert warning in found


def test_what_is_no_file(home: str) -> None:
    os.mkfifo(os.path.join(home, "fifo"))
    os.mkdir(os.path.join(home, "dir"))
    for name in ("fifo", "dir"):
        config = configured(home, f"{{type: file, path: {name}}}", None)
        assert "it has no proxies" in config.warnings[0]


def test_payload_stands_in_for_a_file(home: str) -> None:
    entry = f"{{type: file, path: none, payload: [{{name: p, {REST}}}, {{name: q, type: tuic}}]}}"
    config = configured(home, entry, None)
    assert names(config) == ["p"]
    assert "its payload is used instead" in config.warnings[0]
    assert "1 of 2 entries are left out: type 'tuic'" in config.warnings[1]
    entry = f"{{type: file, path: x.yaml, payload: [{{name: p, {REST}}}]}}"
    assert names(configured(home, entry)) == ["a", "b"]


def test_names_that_are_taken(home: str) -> None:
    rest = (
        f"  y: {{type: file, path: x.yaml}}\n"
        f"proxies: [{{name: a, {REST}}}, {{name: a (x), {REST}}}]\n"
        "proxy-groups: [{name: b, type: select, proxies: [a]}]\n"
    )
    config = configured(home, "{type: file, path: x.yaml}", rest=rest)
    assert names(config) == ["a (x 2)", "b (x)", "a (y)", "b (y)"]
    assert [spec.members for spec in config.proxy_providers] == [
        ("a (x 2)", "b (x)"),
        ("a (y)", "b (y)"),
    ]
    assert any("'a' is 'a (x 2)', 'b' is 'b (x)'" in warning for warning in config.warnings)


def test_names_made_equal_by_an_override(home: str) -> None:
    entry = "{type: file, path: x.yaml, override: {proxy-name: [{pattern: '^.', target: s}]}}"
    assert names(configured(home, entry)) == ["s", "s (x)"]


def test_warnings_of_entries_are_one(home: str) -> None:
    config = configured(home, "{type: file, path: x.yaml}", "trojan://p@a.test:1\n" * 3)
    (warning,) = config.warnings
    assert "its entries: client-fingerprint is ignored" in warning
    assert warning.endswith("(3)")


def test_one_file_for_two_downloads(home: str) -> None:
    rest = "  y: {type: http, url: 'http://v/', path: x.yaml}\n"
    config = configured(home, "{type: http, url: 'http://u/', path: x.yaml}", rest=rest)
    assert any("the same file as that of 'x'" in warning for warning in config.warnings)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("proxy-providers: 5", "expected a mapping, found '5'"),
        ("proxy-providers: {x: 5}", "proxy-providers.x: expected a mapping"),
        ("proxy-providers: {default: {type: file, path: x}}", "the name 'default'"),
        ("proxy-providers: {x: {type: inline}}", "there is no proxy in it"),
        (
            "proxy-providers: {x: {type: inline, payload: [{name: a, type: tuc}]}}",
            "proxy-providers.x.payload[0]: unknown type 'tuc', did you mean 'tuic'?",
        ),
    ],
)
def test_problems(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "/nonexistent")
    assert any(problem in str(found) for found in caught.value.problems)
