"""`authentication` and the address lists."""

from __future__ import annotations

import pytest

from mihomo_tproxy.config import parse
from mihomo_tproxy.config.specs.listener import AccessSpec
from mihomo_tproxy.errors import ConfigError
from mihomo_tproxy.matcher.cidr import parse_cidr


def keys(*cidrs: str) -> tuple[tuple[int, int], ...]:
    return tuple((each.key, each.length) for text in cidrs for each in parse_cidr(text, bare=True))


def test_absent() -> None:
    assert parse("{}").access == AccessSpec((), (), None, ())


def test_everything() -> None:
    found = parse("""
authentication: ["user:pa:ss", "other:", 5:6]
skip-auth-prefixes: [127.0.0.1/8, "::1/128"]
lan-allowed-ips: [192.168.0.0/16]
lan-disallowed-ips: [192.168.0.3]
""").access
    assert found.users == (("user", "pa:ss"), ("other", ""), ("5", "6"))
    assert found.skip_auth == keys("127.0.0.0/8", "::1/128")
    assert found.allowed == keys("192.168.0.0/16")
    assert found.disallowed == keys("192.168.0.3/32")
    assert "pa:ss" not in repr(found)


def test_an_empty_list_allows_nobody() -> None:
    assert parse("lan-allowed-ips: []").access.allowed == ()


@pytest.mark.parametrize(
    ("text", "path", "says"),
    [
        ("authentication: [user]", "authentication[0]", "as in user:password"),
        ("authentication: [':x']", "authentication[0]", "as in user:password"),
        (f"authentication: ['{'a' * 256}:x']", "authentication[0]", "longer than 255"),
        ("authentication: user:pass", "authentication", "expected a list"),
        ("skip-auth-prefixes: [a]", "skip-auth-prefixes[0]", "not a CIDR"),
        ("lan-allowed-ips: [1.2.3.4/33]", "lan-allowed-ips[0]", "not a CIDR"),
        ("lan-disallowed-ips: 1.2.3.4", "lan-disallowed-ips", "expected a list"),
    ],
)
def test_refused(text: str, path: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    (found,) = caught.value.problems
    assert found.path == path
    assert says in found.message
