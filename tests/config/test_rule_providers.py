"""`rule-providers`. What mihomo does was observed with 1.19.32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mihomo_tproxy.config.report import Report
from mihomo_tproxy.config.rule_providers import RuleProviders, parse_rule_providers
from mihomo_tproxy.config.section import Section
from mihomo_tproxy.config.specs.provider import Behavior, Format, RuleProviderSpec, Vehicle
from mihomo_tproxy.config.yaml import load_text
from mihomo_tproxy.provider.rule_content import MAX_BYTES
from mihomo_tproxy.rule.context import RuleSetContent

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://rules.example/list.yaml"


class Found:
    """The providers of a text, and what was reported."""

    def __init__(self, text: str, home: Path) -> None:
        document = load_text(text)
        self.report = Report(document, str(home))
        section = Section(self.report, "", document.value)
        self.providers: RuleProviders = parse_rule_providers(section)

    @property
    def problems(self) -> list[str]:
        return [str(problem) for problem in self.report.problems]


def test_none(tmp_path: Path) -> None:
    found = Found("rules: []", tmp_path)
    assert found.providers.specs == ()
    assert found.problems == []


def test_every_key(tmp_path: Path) -> None:
    found = Found(
        f"""
rule-providers:
  a.b:
    type: http
    behavior: classical
    format: text
    url: {URL}
    path: ./x/a.txt
    interval: "3600"
    proxy: PROXY
    size-limit: 1000
    header: {{User-Agent: [mihomo, clash], Accept: [text/plain]}}
    payload: []
  b: {{type: file, behavior: ipcidr, format: mrs, path: b.mrs}}
  c: {{type: inline, behavior: domain, payload: [A.example, null, ""]}}
""",
        tmp_path,
    )
    assert found.problems == []
    assert found.report.warnings == []
    assert found.providers.specs == (
        RuleProviderSpec(
            name="a.b",
            vehicle=Vehicle.HTTP,
            path=f"{tmp_path}/x/a.txt",
            url=URL,
            interval_s=3600,
            proxy="PROXY",
            size_limit=1000,
            headers=(("User-Agent", "mihomo"), ("User-Agent", "clash"), ("Accept", "text/plain")),
            behavior=Behavior.CLASSICAL,
            format=Format.TEXT,
        ),
        RuleProviderSpec(
            name="b",
            vehicle=Vehicle.FILE,
            path=f"{tmp_path}/b.mrs",
            behavior=Behavior.IPCIDR,
            format=Format.MRS,
        ),
        RuleProviderSpec(name="c", vehicle=Vehicle.INLINE),
    )


def test_the_default_path_is_that_of_mihomo(tmp_path: Path) -> None:
    url = "http://127.0.0.1:18981/d.yaml"
    found = Found(
        f"rule-providers: {{a: {{type: http, behavior: domain, url: '{url}'}}}}", tmp_path
    )
    expected = f"{tmp_path}/rules/26c795a3566e70541c583f93fcdaf810"
    assert found.providers.specs[0].path == expected


def test_a_url_in_unicode_is_encoded(tmp_path: Path) -> None:
    text = "rule-providers: {a: {type: http, behavior: domain, url: 'http://a/规?x=%20&y'}}"
    found = Found(text, tmp_path)
    assert found.providers.specs[0].url == "http://a/%E8%A7%84?x=%20&y"


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("", "line 3: rule-providers.a.type: is needed"),
        ("type: http", "line 3: rule-providers.a.behavior: is needed"),
        ("type: ftp", "line 4: rule-providers.a.type: expected one of http, file, inline"),
        (
            "behavior: domains",
            "behavior: expected one of domain, ipcidr, classical, found 'domains'",
        ),
        (
            "format: txt",
            "format: expected one of yaml, text, mrs, found 'txt', did you mean 'text'?",
        ),
        ("{type: http, behavior: classical, format: mrs}", "mrs has no classical rules"),
        ("{type: http, behavior: domain}", "line 3: rule-providers.a.url: is needed"),
        (
            "url: 'ftp://a/b'\n    type: http",
            "url: expected an http or https URL, found 'ftp://a/b'",
        ),
        ("url: 'http://a b'\n    type: http", "url: expected an http or https URL"),
        ("url: 'http:///b'\n    type: http", "url: expected an http or https URL"),
        ("{type: file, behavior: domain}", "line 3: rule-providers.a.path: is needed"),
        ("{type: file, path: /etc/passwd}", "path: '/etc/passwd' is not inside the home directory"),
        ("{type: http, path: ../x}", "path: '../x' is not inside the home directory"),
        ('{type: file, path: "a\\0"}', "is not a path"),
        ("interval: 9999999999", "interval: 9999999999 is out of range"),
        ("interval: x", "interval: expected a whole number"),
        ("size-limit: 9999999999999999999", "is out of range"),
        ("header: {A: b}", "header.A: expected a list, found 'b'"),
        ("header: {'A b': [c]}", "not the name of a header: 'A b'"),
        ('header: {A: ["b\\r\\nC: d"]}', "header.A[0]: a header holds printable characters only"),
        ("payload: DOMAIN", "payload: expected a list, found 'DOMAIN'"),
        ("payload: [[a]]", "payload[0]: expected a text, found a list"),
        ("[a]", "line 3: rule-providers.a: expected a mapping, found a list"),
    ],
)
def test_problems(tmp_path: Path, entry: str, says: str) -> None:
    found = Found(f"\nrule-providers:\n  a:\n    {entry}\n", tmp_path)
    assert any(says in problem for problem in found.problems), found.problems
    # A rule that names it does not complain again.
    assert found.providers.content("a") == RuleSetContent()
    assert found.providers.specs == ()


def test_not_a_mapping(tmp_path: Path) -> None:
    found = Found("rule-providers: [a]", tmp_path)
    assert found.problems == ["line 1: rule-providers: expected a mapping, found a list"]


def test_unknown_keys_and_bundles(tmp_path: Path) -> None:
    text = """rule-providers:
  a: {type: inline, behavior: domain, path-in-bundle: geo/a.mrs, intervall: 5}
"""
    assert Found(text, tmp_path).report.warnings == [
        "line 2: rule-providers.a.path-in-bundle: ignored: there is no bundle",
        "line 2: rule-providers.a.intervall: unknown key, did you mean 'interval'?",
    ]


def test_one_file_for_two_urls(tmp_path: Path) -> None:
    text = """rule-providers:
  a: {type: http, behavior: domain, path: x, url: "http://a/1"}
  b: {type: http, behavior: domain, path: ./x, url: "http://a/2"}
  c: {type: file, behavior: domain, path: ./x}
"""
    assert Found(text, tmp_path).report.warnings == [
        "line 3: rule-providers.b.path: the same file as that of 'a', other URL"
    ]


def test_content_is_read_once_and_only_if_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("payload:\n- A.example\n- +.b.example\n")
    (tmp_path / "b").write_text("payload:\n- 192.0.2.0/24\n")
    (tmp_path / "c").write_text("payload:\n- DOMAIN,a\n- FOO,b\n- {\n")
    text = """rule-providers:
  a: {type: file, behavior: domain, path: a}
  b: {type: http, behavior: ipcidr, path: b, url: "http://a/b"}
  c: {type: file, behavior: classical, path: c}
  d: {type: file, behavior: classical, path: d}
"""
    found = Found(text, tmp_path)
    domains = found.providers.content("a").domains
    assert domains is not None
    assert "a.example" in domains
    assert "x.b.example" in domains
    assert found.providers.content("a").domains is domains
    assert found.providers.content("c") == RuleSetContent(lines=("DOMAIN,a",))
    assert [spec.count for spec in found.providers.specs] == [2, 0, 1, 0]
    assert found.report.warnings == [
        "line 4: rule-providers.c: 2 of 3 rules are left out, the first is 'FOO,b': "
        "unknown rule kind 'FOO'"
    ]
    ranges = found.providers.content("b").ranges
    assert ranges is not None
    assert len(ranges) == 1


def test_inline(tmp_path: Path) -> None:
    text = "rule-providers: {a: {type: inline, behavior: classical, payload: [5, 'DOMAIN,x']}}"
    found = Found(text, tmp_path)
    assert found.providers.content("a") == RuleSetContent(lines=("DOMAIN,x",))
    assert "1 of 2 rules are left out" in found.report.warnings[0]


def test_missing_and_broken_files_are_warnings(tmp_path: Path) -> None:
    (tmp_path / "broken").write_text("payload: [a]\n")
    (tmp_path / "large").touch()
    (tmp_path / "dir").mkdir()
    with (tmp_path / "large").open("ab") as file:
        file.truncate(MAX_BYTES + 1)
    text = """rule-providers:
  a: {type: http, behavior: domain, url: "http://a/b", path: a}
  b: {type: file, behavior: domain, path: b}
  c: {type: file, behavior: domain, path: broken}
  d: {type: file, behavior: domain, path: large}
  e: {type: file, behavior: domain, path: dir}
  f: {type: file, behavior: domain, path: a, payload: [x]}
"""
    found = Found(text, tmp_path)
    for name in "abcdea":
        assert found.providers.content(name) == RuleSetContent()
    assert found.problems == []
    fallback = found.providers.content("f").domains
    assert fallback is not None
    assert "x" in fallback
    assert found.report.warnings == [
        "line 2: rule-providers.a: not downloaded yet; it matches nothing",
        f"line 3: rule-providers.b: there is no file {tmp_path}/b; it matches nothing",
        f"line 4: rule-providers.c: {tmp_path}/broken: no list `payload`; it matches nothing",
        f"line 5: rule-providers.d: {tmp_path}/large: larger than 64 MiB; it matches nothing",
        f"line 6: rule-providers.e: cannot read {tmp_path}/dir: Is a directory; it matches nothing",
        f"line 7: rule-providers.f: there is no file {tmp_path}/a; its payload is used instead",
    ]


def test_a_name_that_is_not_there(tmp_path: Path) -> None:
    found = Found("rule-providers: {google: {type: inline, behavior: domain}}", tmp_path)
    with pytest.raises(ValueError, match="no rule provider 'gogle', did you mean 'google'"):
        found.providers.content("gogle")
