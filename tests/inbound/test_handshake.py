"""Refusals reach a client that is still sending, and cost nothing if it never stops."""

from __future__ import annotations

import socket

import pytest
from support.inbound import InboundRig

from mihomo_tproxy.inbound import handshake, inbound
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


@pytest.mark.parametrize(
    "talk",
    [
        *(b"", b"\x05", b"\x05\x01\x01", b"GET", BAD, b"\x05\x01\x00\x05\x03\0\1" + bytes(6)),
        *(b"CONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\n", b"GET http://127.0.0.1:1/ HTTP/1.1\r\n\r\n"),
        b"GET http://127.0.0.1:1/ HTTP/1.1\r\nConnection: close\r\n\r\n",
    ],
)
def test_clients_are_counted_while_they_are_talked_to(talk):
    with InboundRig("mixed") as rig:
        rig.inbound._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 0)
        client = rig.client()
        rig.turn_until(lambda: rig.inbound.clients == 1)
        if talk:
            client.sendall(talk)
            rig.turn(0.005)
        client.close()
        rig.turn_until(lambda: rig.inbound.clients == 0)
        assert rig.reactor.crashes == 0


def test_clients_are_capped(monkeypatch):
    monkeypatch.setattr(inbound, "CLIENT_LIMIT", 2)
    with InboundRig("mixed") as rig:
        first, _ = rig.client(b"\x05"), rig.client(b"\x05")
        rig.turn_until(lambda: rig.inbound.clients == 2)
        third = rig.client(b"\x05\x01\x00")
        rig.wait_error("client-limit")
        with pytest.raises(ConnectionResetError):
            rig.read_until_end(third)
        first.close()
        rig.turn_until(lambda: rig.inbound.clients == 1)
        rig.expect(rig.client(b"\x05\x01\x00"), b"\x05\x00")
