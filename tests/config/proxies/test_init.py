"""The entries of `proxies`."""

from __future__ import annotations

import pytest

from mihomo_tproxy.config import parse
from mihomo_tproxy.config.proxies import OTHER_TYPES, TYPES
from mihomo_tproxy.config.specs.base import ProxySpec
from mihomo_tproxy.errors import ConfigError


def test_weakly_typed_as_mihomo() -> None:
    text = "proxies: [{name: 5, type: direct, routing-mark: '7', udp: 'false'}]\nrules: ['MATCH,5']"
    found = parse(text)
    assert found.proxies == (ProxySpec("5", "direct", routing_mark=7, udp=False),)


@pytest.mark.parametrize("kind", sorted(OTHER_TYPES))
def test_other_types_are_refused_by_name(kind: str) -> None:
    with pytest.raises(ConfigError, match=f"type '{kind}' is not supported by this version"):
        parse(f"proxies: [{{name: x, type: {kind}, server: a, port: 1}}]")


@pytest.mark.parametrize(
    ("entry", "path", "says"),
    [
        ("5", "proxies[0]", "expected a mapping, found '5'"),
        ("null", "proxies[0]", "expected a mapping, found nothing"),
        ("{type: direct}", "proxies[0]", "'name' is missing"),
        ("{name: x}", "proxies[0]", "'type' is missing"),
        ("{name: x, type: drect}", "proxies[0]", "unknown type 'drect', did you mean 'direct'?"),
        ("{name: DIRECT, type: direct}", "proxies[0]", "the name 'DIRECT' is already taken"),
        ("{name: PASS, type: direct}", "proxies[0]", "the name 'PASS' is already taken"),
        (
            "{name: x, type: direct, ip-version: v4}",
            "proxies[0].ip-version",
            "did you mean 'ipv4'?",
        ),
        ("{name: x, type: direct, routing-mark: abc}", "proxies[0].routing-mark", "whole number"),
        ("{name: x, type: direct, dialer-proxy: y}", "proxies[0].dialer-proxy", "dials by itself"),
        ("{name: [x], type: direct}", "proxies[0].name", "expected a text, found a list"),
    ],
)
def test_refused(entry: str, path: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(f"proxies:\n  - {entry}\n")
    problem = caught.value.problems[-1] if "[x]" not in entry else caught.value.problems[0]
    assert (problem.path, problem.line) == (path, 2)
    assert says in problem.message


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ConfigError, match=r"^line 1: proxies\[1\]: the name 'x' is already taken$"):
        parse("proxies: [{name: x, type: direct}, {name: x, type: reject}]")


def test_what_has_no_effect_is_named() -> None:
    found = parse("proxies: [{name: x, type: direct, tfo: true, ip-verson: dual}]")
    assert found.warnings == (
        "line 1: proxies[0]: ignored: tfo",
        "line 1: proxies[0].ip-verson: unknown key, did you mean 'ip-version'?",
    )


def test_a_type_is_either_built_or_refused_by_name() -> None:
    assert not OTHER_TYPES & set(TYPES)
