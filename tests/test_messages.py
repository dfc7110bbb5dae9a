"""Messages between supervisor and worker: whole, in order, and their end."""

from __future__ import annotations

import socket
import threading

import pytest

from mihomo_tproxy.messages import LENGTH, receive_message, send_message


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.settimeout(5)
    with ours, theirs:
        yield ours, theirs


def test_messages_arrive_in_order(pair):
    ours, theirs = pair
    send_message(ours, ("ready",))
    send_message(ours, ("reload", b"\0" * 10, 2, (1, 3)))
    assert receive_message(theirs) == ("ready",)
    assert receive_message(theirs) == ("reload", b"\0" * 10, 2, (1, 3))


def test_a_message_larger_than_the_socket_buffer(pair):
    ours, theirs = pair
    blob = bytes(4_000_000)
    sender = threading.Thread(target=send_message, args=(ours, ("reload", blob)))
    sender.start()
    assert receive_message(theirs) == ("reload", blob)
    sender.join()


@pytest.mark.parametrize("sent", [b"", b"\1\2", LENGTH.pack(100) + b"short"])
def test_an_end_within_a_message_is_the_end(pair, sent):
    ours, theirs = pair
    ours.sendall(sent)
    ours.close()
    assert receive_message(theirs) is None
