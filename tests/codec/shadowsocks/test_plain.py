"""No cipher: an address, and nothing else."""

from __future__ import annotations

import pytest

from mihomo_tproxy.codec.shadowsocks.plain import PlainStream
from mihomo_tproxy.errors import LocalProtocolError


def test_the_address_leaves_with_the_first_payload() -> None:
    layer = PlainStream("192.0.2.1", 80)
    assert layer.ready
    assert not layer.transparent
    assert layer.feed(b"banner") == b"banner"
    assert layer.seal(memoryview(b"hello")) == b"\x01\xc0\0\x02\x01\0\x50hello"
    assert layer.transparent
    assert layer.seal(b"more") == b"more"
    assert layer.finish() == b""


def test_the_address_does_not_wait_for_payload() -> None:
    layer = PlainStream("192.0.2.1", 80)
    assert layer.finish() == b"\x01\xc0\0\x02\x01\0\x50"


def test_a_host_that_cannot_be_written() -> None:
    with pytest.raises(LocalProtocolError):
        PlainStream("x" * 256, 1)
