"""The redirect inbound; where a client wanted to go is told by the test."""

from __future__ import annotations

import errno
import socket
import struct

import pytest
from support.loopback import RelayRig, readable

from mihomo_tproxy.config.specs.listener import AccessSpec, ListenerSpec, ListenerType
from mihomo_tproxy.inbound.listener import open_tcp
from mihomo_tproxy.inbound.redir import SO_ORIGINAL_DST, RedirListener, original_destination

SPEC = ListenerSpec("redir-port", "DEFAULT-REDIR", ListenerType.REDIR, ("127.0.0.1",), 0)


class Redirected:
    """A socket that connection tracking knows."""

    def __init__(self, family, answer):
        self.family = family
        self._answer = answer

    def getsockopt(self, level, option, size):
        assert option == SO_ORIGINAL_DST
        assert level == (
            socket.IPPROTO_IPV6 if self.family == socket.AF_INET6 else socket.IPPROTO_IP
        )
        assert len(self._answer) == size
        return self._answer


def test_original_destination_v4():
    answer = struct.pack("=H", socket.AF_INET) + struct.pack(">H4s8x", 443, bytes([192, 0, 2, 1]))
    assert original_destination(Redirected(socket.AF_INET, answer)) == ("192.0.2.1", 443)


def test_original_destination_v6():
    address = socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    answer = struct.pack("=H", socket.AF_INET6) + struct.pack(">HI16s", 443, 0, address)
    answer += struct.pack("=I", 3)
    found = original_destination(Redirected(socket.AF_INET6, answer))
    assert found == ("2001:db8::1", 443, 0, 3)


class RedirRig(RelayRig):
    def __enter__(self):
        super().__enter__()
        sock = open_tcp(socket.AF_INET, "127.0.0.1", 0)
        self.address = sock.getsockname()
        self.redir = RedirListener(self.context, sock, self.tunnel, SPEC, self.where)
        self.redir.start()
        return self

    def __exit__(self, *exc):
        self.redir.close()
        super().__exit__(*exc)

    def where(self, client):
        if self.destination is None:
            raise OSError(errno.ENOENT, "not redirected")
        return self.destination


def test_redirected_client_is_relayed():
    with RedirRig() as rig:
        client, server = rig.pair()
        client.sendall(b"ping")
        rig.turn_until(lambda: readable(server))
        assert server.recv(16) == b"ping"
        (asked,) = rig.engine.asked
        assert (asked.inbound, asked.inbound_name) == ("Redir", "DEFAULT-REDIR")
        assert (asked.destination, asked.destination_port) == rig.destination


@pytest.mark.parametrize(("itself", "cause"), [(True, "loop"), (False, "redir-no-destination")])
def test_who_was_not_redirected_is_reset(itself, cause):
    with RedirRig() as rig:
        rig.destination = rig.address if itself else None
        client = rig.connect()
        rig.turn_until(lambda: readable(client))
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert rig.tracker.errors == {cause: 1}


def test_failure_is_a_reset():
    with RedirRig() as rig:
        rig.server.close()
        client = rig.connect()
        rig.turn_until(lambda: readable(client))
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert rig.tracker.errors == {"dial-refused": 1}


def test_fixed_proxy():
    with RedirRig() as rig:
        spec = ListenerSpec("l", "l", ListenerType.REDIR, ("127.0.0.1",), 0, proxy="nobody")
        rig.redir.configure(rig.context, spec, AccessSpec())
        rig.connect()
        rig.turn_until(lambda: rig.tracker.errors != {})
        assert rig.tracker.errors == {"no-outbound": 1}
        assert rig.engine.asked == []
