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
def test_other_types_are_left_out_by_name(kind: str) -> None:
    found = parse(f"proxies: [{{name: x, type: {kind}, server: a, port: 1}}]")
    assert found.proxies == ()
    assert found.warnings == (
        f"line 1: proxies[0]: 'x' is left out: type '{kind}' is not supported by this version",
    )


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


VISION = "{name: v, type: vless, server: a, port: 1, uuid: u, flow: xtls-rprx-vision, tls: true}"


def test_groups_go_without_what_is_left_out() -> None:
    found = parse(f"""\
proxies:
  - {VISION}
  - {{name: d, type: direct}}
proxy-groups:
  - {{name: some, type: select, proxies: [v, d]}}
  - {{name: none, type: select, proxies: [v]}}
  - {{name: every, type: select, include-all-proxies: true, exclude-filter: d}}
  - {{name: other, type: select, include-all-proxies: true, filter: zz, empty-fallback: v}}
  - {{name: well, type: select, include-all-proxies: true, empty-fallback: v}}
rules: ['MATCH,some']
""")
    assert [spec.name for spec in found.proxies] == ["d"]
    assert {group.name: group.members for group in found.groups} == {
        "some": ("d",),
        "none": ("REJECT",),
        "every": ("REJECT",),
        "other": ("REJECT",),
        "well": ("d",),
        "GLOBAL": ("DIRECT", "REJECT", "d", "some", "none", "every", "other", "well"),
    }
    reason = "xtls-rprx-vision is not supported by this version; the server must allow no flow"
    assert found.warnings == (
        f"line 2: proxies[0].flow: 'v' is left out: {reason}",
        "line 5: proxy-groups[0]: goes without what is left out: 'v'",
        "line 6: proxy-groups[1]: goes without what is left out: 'v'",
        "line 6: proxy-groups[1]: no member is left: REJECT stands in",
        "line 7: proxy-groups[2]: no member is left: REJECT stands in",
        "line 8: proxy-groups[3]: no member is left: REJECT stands in",
    )


def test_who_dials_through_what_is_left_out_is_so_too() -> None:
    found = parse(f"""\
proxies:
  - {{name: a, type: http, server: a, port: 1, dialer-proxy: b}}
  - {{name: b, type: http, server: a, port: 1, dialer-proxy: v}}
  - {VISION}
  - {{name: d, type: http, server: a, port: 1, dialer-proxy: e}}
  - {{name: e, type: direct}}
""")
    assert [spec.name for spec in found.proxies] == ["d", "e"]
    assert [warning.split(": ", 1)[1] for warning in found.warnings[1:]] == [
        "proxies[1].dialer-proxy: 'b' is left out: its dialer-proxy 'v' is left out",
        "proxies[0].dialer-proxy: 'a' is left out: its dialer-proxy 'b' is left out",
    ]


def test_a_rule_cannot_lead_to_what_is_left_out() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("proxies: [{name: s, type: ssh}]\nrules: ['MATCH,s']")
    (problem,) = caught.value.problems
    assert (problem.path, problem.line) == ("rules[0]", 2)
    reason = "type 'ssh' is not supported by this version"
    assert problem.message == f"target 's' is left out: {reason}"


def test_what_is_wrong_besides_is_an_error() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(f"proxies: [{VISION.replace('port: 1', 'port: 0')}]")
    assert [problem.path for problem in caught.value.problems] == [
        "proxies[0].port",
        "proxies[0].flow",
    ]
