"""Refusals reach a client that is still sending, and cost nothing if it never stops."""

from __future__ import annotations

import socket

from support.inbound import InboundRig

from mihomo_tproxy.inbound import handshake
from mihomo_tproxy.inbound.handshake import FAREWELL_S

BAD = b"GET / HTTP/1.1\r\n\r\n"


def is_cut_off(rig, client):
    """Whether sending soon fails."""

    def fails():
        try:
            client.sendall(b"x")
        except (ConnectionResetError, BrokenPipeError):
            return True
        return False

    rig.turn_until(fails)
    return True


def test_a_refusal_is_heard_over_a_body():
    with InboundRig("http") as rig:
        client = rig.client(BAD + b"x" * 200_000)
        rig.turn(0.01)
        client.sendall(b"x" * 200_000)
        got = rig.read_until(client, b"http-bad-target\n")
        assert got.startswith(b"HTTP/1.1 400 ")
        client.shutdown(socket.SHUT_WR)
        assert rig.read_until_end(client) == b""


def test_the_farewell_is_over_when_the_client_ends():
    with InboundRig("http") as rig:
        client = rig.client(BAD)
        rig.read_until_end(client)
        watched = sum(each is not None for each in rig.reactor._table)
        client.close()
        rig.turn_until(lambda: sum(each is not None for each in rig.reactor._table) == watched - 1)


def test_the_farewell_is_over_after_a_while():
    with InboundRig("http") as rig:
        client = rig.client(BAD)
        rig.read_until_end(client)
        rig.later(FAREWELL_S + 1)
        assert is_cut_off(rig, client)


def test_the_farewell_is_over_after_much(monkeypatch):
    monkeypatch.setattr(handshake, "FAREWELL_BYTES", 1000)
    with InboundRig("http") as rig:
        client = rig.client(BAD)
        rig.turn(0.01)
        assert is_cut_off(rig, client)


def test_shutdown_ends_handshakes_and_farewells():
    with InboundRig("socks") as rig:
        half = rig.client(b"\x05")
        refused = rig.client(b"\x05\x01\x01")
        assert rig.read_until_end(refused) == b"\x05\xff"
    assert rig.tracker.errors["shutdown"] == 1
    assert half.fileno() == -1
