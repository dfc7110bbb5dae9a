"""The `hosts` table."""

from __future__ import annotations

import pytest

from mihomo_tproxy.config import parse
from mihomo_tproxy.config.schema import HostEntry
from mihomo_tproxy.errors import ConfigError


def test_addresses_and_aliases() -> None:
    found = parse("""
hosts:
  A.example: 1.2.3.4
  b.example: [1.2.3.4, "2001:DB8::1"]
  "*.c.example": d.example
  +.e.example: "::1"
  .f.example: [G.example]
  nas: 10.0.0.2
""")
    assert found.hosts == {
        "a.example": HostEntry(("1.2.3.4",)),
        "b.example": HostEntry(("1.2.3.4", "2001:db8::1")),
        "*.c.example": HostEntry(alias="d.example"),
        "+.e.example": HostEntry(("::1",)),
        ".f.example": HostEntry(alias="g.example"),
        "nas": HostEntry(("10.0.0.2",)),
    }
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("'a b': 1.2.3.4", "not a host name: 'a b'"),
        ("a..b: 1.2.3.4", "not a host name"),
        ("'': 1.2.3.4", "not a host name"),
        (f"{'a' * 64}.b: 1.2.3.4", "not a host name"),
        ("a.b:", "expected an address, addresses or one name, found nothing"),
        ("a.b: []", "found a list"),
        ("a.b: {c: d}", "found a mapping"),
        ("a.b: [c.d, 1.2.3.4]", "several values must all be addresses"),
        ("a.b: 'c d'", "neither an address nor a name: 'c d'"),
        ("a.b: '1:2'", "neither an address nor a name"),
    ],
)
def test_refused(entry: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(f"hosts:\n  {entry}\n")
    (problem,) = caught.value.problems
    assert problem.path.startswith("hosts.")
    assert problem.line == 2
    assert says in problem.message
