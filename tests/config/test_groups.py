"""Entries of `proxy-groups`: defaults, members, and every way to get one wrong."""

from __future__ import annotations

import pytest
from support.groups import parsed

from mihomo_tproxy.config import parse
from mihomo_tproxy.config.groups import DEFAULT_URL
from mihomo_tproxy.config.specs.group import GroupSpec, GroupType, Strategy
from mihomo_tproxy.errors import ConfigError


def group(entry: str) -> GroupSpec:
    groups, report = parsed(f"  - {entry}")
    assert report.problems == []
    return groups[0]


def problems(text: str) -> list[str]:
    return [f"{problem.path}: {problem.message}" for problem in parsed(text)[1].problems]


def test_select_has_no_check_of_its_own():
    assert group("{name: a, type: select, proxies: [us-1]}") == GroupSpec(
        "a", GroupType.SELECT, ("us-1",)
    )


@pytest.mark.parametrize("kind", ["url-test", "fallback", "load-balance"])
def test_the_others_have_mihomos(kind):
    assert group(f"{{name: a, type: {kind}, proxies: [us-1]}}") == GroupSpec(
        "a", GroupType(kind), ("us-1",), url=DEFAULT_URL, interval_s=300
    )


def test_everything_at_once():
    groups, report = parsed("""
  - {name: a, type: url-test, proxies: [us-1], url: "http://x.test/", interval: 60, lazy: false,
     timeout: 2000, tolerance: 50, max-failed-times: 3, expected-status: 204/301, disable-udp: true,
     hidden: true, icon: i.png}
  - {name: b, type: load-balance, proxies: [a], strategy: sticky-sessions, hash-key: in-user}
  - {name: c, type: select, proxies: [a, b], default-selected: b}
""")
    assert (report.problems, report.warnings) == ([], [])
    a, b, c, _ = groups
    assert a == GroupSpec(
        "a", GroupType.URL_TEST, ("us-1",), "http://x.test/", 60, False, 2000, 50, 3, "204/301",
        True, True, "i.png",
    )  # fmt: skip
    assert (b.strategy, b.hash_user) == (Strategy.STICKY_SESSIONS, True)
    assert (c.default_selected, c.default, a.default) == ("b", "b", "us-1")


def test_who_was_selected_by_default_need_not_be_a_member():
    assert group("{name: a, type: select, proxies: [us-1], default-selected: x}").default == "us-1"


@pytest.mark.parametrize(
    ("options", "url", "interval"),
    [
        ("type: select, proxies: [us-1], url: 'http://u.test/'", "http://u.test/", 0),
        ("type: select, proxies: [us-1], interval: 30", DEFAULT_URL, 30),
        ("type: select, use: [zeta]", "http://prov.test/", 0),
        ("type: select, use: [beta, zeta]", "http://prov.test/", 0),
        ("type: select, use: [zeta], url: 'http://u.test/'", "http://u.test/", 0),
        ("type: url-test, use: [zeta], interval: 0", "http://prov.test/", 300),
        ("type: fallback, proxies: [us-1], use: [beta]", DEFAULT_URL, 300),
    ],
)
def test_what_is_checked_how_often(options, url, interval):
    found = group(f"{{name: a, {options}}}")
    assert (found.url, found.interval_s) == (url, interval)


def test_global_has_everything_in_file_order():
    groups, _ = parsed("""
  - {name: b, type: select, proxies: [a, us-1]}
  - {name: a, type: select, use: [zeta]}
""")
    assert groups[-1] == GroupSpec(
        "GLOBAL",
        GroupType.SELECT,
        ("DIRECT", "REJECT", "hk-1", "us-1", "Hk-2", "alpha", "b", "a"),
    )
    assert parse("{}").groups == (GroupSpec("GLOBAL", GroupType.SELECT, ("DIRECT", "REJECT")),)


def test_a_file_may_have_its_own_global():
    groups, report = parsed("""
  - {name: GLOBAL, type: select, proxies: [us-1]}
  - {name: a, type: select, proxies: [GLOBAL]}
""")
    assert report.problems == []
    assert [(spec.name, spec.members) for spec in groups] == [
        ("GLOBAL", ("us-1",)),
        ("a", ("GLOBAL",)),
    ]


@pytest.mark.parametrize(
    ("entry", "path", "says"),
    [
        ("{name: a, type: select}", "", "no members: `proxies` or `use` is missing"),
        ("{name: a, type: select, proxies: []}", "", "no members"),
        ("{name: a, proxies: [us-1]}", "", "'type' is missing"),
        ("{type: select, proxies: [us-1]}", "", "'name' is missing"),
        ("5", "", "expected a mapping, found '5'"),
        ("{name: a, type: relay, proxies: [us-1]}", ".type", "use `dialer-proxy`"),
        ("{name: a, type: selct, proxies: [us-1]}", ".type", "did you mean 'select'?"),
        ("{name: us-1, type: select, proxies: [hk-1]}", "", "'us-1' is already taken"),
        ("{name: PASS-RULE, type: select, proxies: [hk-1]}", "", "is already taken"),
        ("{name: zeta, type: select, proxies: [hk-1]}", ".name", "is a proxy provider"),
        ("{name: a, type: select, proxies: [us-2]}", ".proxies[0]", "did you mean 'us-1'?"),
        ("{name: a, type: select, proxies: [p-us]}", ".proxies[0]", "there is no proxy or group"),
        ("{name: a, type: select, proxies: [GLOBAL]}", ".proxies[0]", "no proxy or group 'GLOBAL'"),
        ("{name: a, type: select, proxies: us-1}", ".proxies", "expected a list"),
        ("{name: a, type: select, use: [bta]}", ".use[0]", "did you mean 'beta'?"),
        ("{name: a, type: select, use: [us-1]}", ".use[0]", "is no provider"),
        ("{name: a, type: select, use: [zeta], filter: '('}", ".filter", "bad expression '('"),
        ("{name: a, type: select, use: [zeta], exclude-filter: 'x`['}", ".exclude-filter", "'['"),
        ("{name: a, type: url-test, use: [zeta], expected-status: x}", ".expected-status", "'x'"),
        ("{name: a, type: select, use: [zeta], interval: -1}", ".interval", "out of range"),
        ("{name: a, type: url-test, use: [zeta], tolerance: x}", ".tolerance", "whole number"),
        ("{name: a, type: load-balance, use: [zeta], strategy: x}", ".strategy", "round-robin"),
        ("{name: a, type: load-balance, use: [zeta], hash-key: x}", ".hash-key", "'in-user'"),
        ("{name: a, type: select, use: [zeta], empty-fallback: us-2}", ".empty-fallback", "'us-1'"),
        ("{name: a, type: select, use: [zeta], lazy: maybe}", ".lazy", "true or false"),
        ("{name: a, type: select, include-all: maybe}", ".include-all", "true or false"),
    ],
)
def test_refused(entry, path, says):
    found = parsed(f"  - {entry}")[1].problems
    matching = [problem for problem in found if says in problem.message]
    assert [(problem.path, problem.line) for problem in matching] == [
        (f"proxy-groups[0]{path}", matching[0].line)
    ]
    assert matching[0].line is not None


def test_no_fallback_to_a_group_and_no_name_twice():
    assert problems("""
  - {name: a, type: select, proxies: [us-1], empty-fallback: b}
  - {name: b, type: select, proxies: [us-1]}
  - {name: b, type: select, proxies: [us-1]}
""") == [
        "proxy-groups[0].empty-fallback: there is no proxy 'b'",
        "proxy-groups[2]: the name 'b' is already taken",
    ]


def test_what_has_no_effect_is_named():
    _, report = parsed("""
  - {name: a, type: select, proxies: [us-1], interface-name: eth0, routing-mark: 3, tolerance: 5,
     strategy: round-robin, hidde: true}
  - {name: b, type: fallback, proxies: [us-1], default-selected: x, hash-key: x}
""")
    assert report.problems == []
    assert [warning.partition(": ")[2] for warning in report.warnings] == [
        "proxy-groups[0].tolerance: ignored: only url-test groups have it",
        "proxy-groups[0].strategy: ignored: only load-balance groups have it",
        "proxy-groups[0].interface-name: ignored, as mihomo does: set it on the proxies",
        "proxy-groups[0].routing-mark: ignored, as mihomo does: set it on the proxies",
        "proxy-groups[0].hidde: unknown key, did you mean 'hidden'?",
        "proxy-groups[1].hash-key: ignored: only load-balance groups have it",
        "proxy-groups[1].default-selected: ignored: only select groups have it",
    ]


def test_a_proxy_named_global_is_one_problem() -> None:
    with pytest.raises(ConfigError, match="the name 'GLOBAL' is already taken") as caught:
        parse("proxies: [{name: GLOBAL, type: direct}]")
    assert len(caught.value.problems) == 1
