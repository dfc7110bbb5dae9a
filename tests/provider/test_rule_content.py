"""Files of rule providers to their contents."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis.strategies import binary, sampled_from
from support.mrs import pack_names, pack_ranges

from mihomo_tproxy.config.specs.provider import Behavior, Format
from mihomo_tproxy.model.address import address_key
from mihomo_tproxy.provider import rule_content
from mihomo_tproxy.provider.rule_content import parse_content, read_content

DOMAINS = b"A.example\n+.b.example\n*.c.example\n.d.example\n"


def test_domains_in_every_format() -> None:
    as_yaml = b"payload:\n" + b"".join(b"  - '%s'\n" % line for line in DOMAINS.splitlines())
    stored = ["a.example", "b.example", "+.b.example", "*.c.example", "+.d.example"]
    for data, form in (
        (DOMAINS, Format.TEXT),
        (as_yaml, Format.YAML),
        (pack_names(stored), Format.MRS),
    ):
        parsed = read_content(data, Behavior.DOMAIN, form)
        assert (parsed.taken, parsed.skipped, parsed.reason) == (4, 0, "")
        domains = parsed.content.domains
        assert domains is not None
        for inside in ("a.example", "b.example", "x.b.example", "x.c.example", "x.y.d.example"):
            assert inside in domains
        for outside in ("x.a.example", "c.example", "x.y.c.example", "d.example"):
            assert outside not in domains
        assert parsed.content.ranges is None
        assert parsed.content.lines is None


def test_addresses_in_every_format() -> None:
    v4 = (address_key("192.0.2.0"), address_key("192.0.2.255"))
    v6 = (address_key("2001:db8::"), address_key("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"))
    for data, form in (
        (b"192.0.2.9/24\n2001:DB8::/32", Format.TEXT),
        (b"payload:\n- 192.0.2.0/24\n- '2001:db8::/32'\n", Format.YAML),
        (pack_ranges([v6, v4]), Format.MRS),
    ):
        content = parse_content(data, Behavior.IPCIDR, form)
        assert content.ranges is not None
        assert list(content.ranges.ranges()) == [v4, v6]


def test_lines_that_are_no_addresses_are_counted() -> None:
    data = b"192.0.2.1\n192.0.2.0/33\n::ffff:192.0.2.0/120\n192.0.2.0/24,no-resolve\n10.0.0.0/8\n"
    parsed = read_content(data, Behavior.IPCIDR, Format.TEXT)
    assert (parsed.taken, parsed.skipped) == (1, 4)
    assert parsed.reason.startswith("'192.0.2.1': not a CIDR")


def test_classical_lines() -> None:
    data = b"payload:\n- DOMAIN,a.example\n- x: 1\n- foo,a\n- ip-cidr,10.0.0.0/8,no-resolve,X\n"
    data += b"- MATCH\n"
    parsed = read_content(data, Behavior.CLASSICAL, Format.YAML)
    assert parsed.content.lines == ("DOMAIN,a.example", "ip-cidr,10.0.0.0/8,no-resolve,X")
    assert (parsed.taken, parsed.skipped) == (2, 3)
    assert parsed.reason == "'foo,a': unknown rule kind 'FOO'"


def test_an_example_that_is_long_is_cut() -> None:
    parsed = read_content(b"a" * 4000, Behavior.CLASSICAL, Format.TEXT)
    assert len(parsed.reason) < 200


def test_no_classical_mrs() -> None:
    with pytest.raises(ValueError, match="the format mrs has no classical rules"):
        parse_content(pack_names(["a"]), Behavior.CLASSICAL, Format.MRS)


def test_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule_content, "MAX_BYTES", 5)
    assert read_content(b"a\nb\nc", Behavior.DOMAIN, Format.TEXT).taken == 3
    with pytest.raises(ValueError, match="larger than 0 MiB"):
        parse_content(b"a\nb\ncd", Behavior.DOMAIN, Format.TEXT)


@given(binary(max_size=200), sampled_from(Behavior), sampled_from(Format))
@settings(deadline=None)
def test_anything(data: bytes, behavior: Behavior, form: Format) -> None:
    try:
        parsed = read_content(b"payload:\n" + data, behavior, form)
    except ValueError:
        return
    assert parsed.taken + parsed.skipped <= data.count(b"\n") + 2
