"""The classifier hears of flows it cannot see."""

from __future__ import annotations

import time
from struct import unpack
from typing import TYPE_CHECKING

from mihomo_tproxy.dataplane.claims import Claims, time_wait_sockets

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


class FakeMap:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.entries: dict[bytes, bytes] = {}

    def update(self, key: bytes, value: bytes) -> None:
        self.entries[key] = value


def test_renewal_is_the_time_on_the_programs_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic_ns", lambda: 123_456_789_012)
    table = FakeMap()
    Claims(table).renew()  # type: ignore[arg-type]
    assert {key: unpack("=Q", value)[0] for key, value in table.entries.items()} == {
        bytes(4): 123_456_789_012
    }


def test_time_wait_sockets_are_counted(tmp_path: Path) -> None:
    sockstat = tmp_path / "sockstat"
    sockstat.write_text(
        "sockets: used 9\nTCP: inuse 3 orphan 0 tw 17 alloc 5 mem 1\nUDP: inuse 2 mem 0\n"
    )
    assert time_wait_sockets(sockstat) == 17
    sockstat.write_text("sockets: used 9\n")
    assert time_wait_sockets(sockstat) == 0
    assert time_wait_sockets(tmp_path / "absent") == 0
