"""The lanes alone; with a flow around them: test_layered."""

from __future__ import annotations

import socket

import pytest
from support.layers import Xor

from mihomo_tproxy.errors import ProtocolError
from mihomo_tproxy.net.sealing import CONTROL_BYTES, SealLane
from mihomo_tproxy.transport.stack import Stack


@pytest.fixture
def lane():
    client, server = socket.socketpair()
    far, near = socket.socketpair()
    with client, server, far, near:
        near.setblocking(False)
        yield SealLane(server, near, Stack([Xor()])), far


def test_what_a_server_does_not_accept_is_capped(lane):
    seal, _ = lane

    def flood():
        for _ in range(1000):
            seal.push(bytes(65_536))

    with pytest.raises(ProtocolError) as caught:
        flood()
    assert caught.value.cause == "control-flood"
    assert len(seal.backlog) <= CONTROL_BYTES + 65_536


def test_a_server_that_is_gone_is_an_error_unless_it_had_ended(lane):
    seal, far = lane
    far.close()
    with pytest.raises(ConnectionError):
        seal.push(b"x")
    seal.late = True
    seal.push(b"x")
    assert seal.backlog is None
    seal.backlog = memoryview(b"x")
    assert seal.flush(None)
    assert seal.backlog is None
