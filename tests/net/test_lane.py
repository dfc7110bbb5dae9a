"""One lane between two socket pairs: what it says after each turn, and what it holds."""

from __future__ import annotations

import os
import socket

import pytest
from support.loopback import RelayRig

from mihomo_tproxy.net import lane as module
from mihomo_tproxy.net.lane import BLOCKED, DRAINED, FINISHED, MORE, SPLICING, Lane


@pytest.fixture
def ends():
    """(writer, src) and (dst, reader), and the lane between them."""
    with RelayRig() as rig:
        pairs = socket.socketpair(), socket.socketpair()
        for sock in (*pairs[0], *pairs[1]):
            sock.setblocking(False)
            rig.keep(sock)
        (writer, src), (dst, reader) = pairs
        lane = Lane(src, dst)
        yield rig, writer, lane, reader
        lane.release(rig.context)


def test_nothing_to_read(ends):
    rig, _writer, lane, _reader = ends
    assert lane.turn(rig.context) == DRAINED


def test_small_message(ends):
    rig, writer, lane, reader = ends
    writer.send(b"hello")
    assert lane.turn(rig.context) == DRAINED
    assert reader.recv(64) == b"hello"
    assert lane.total == 5


def test_end_of_stream(ends):
    rig, writer, lane, _reader = ends
    writer.close()
    assert lane.turn(rig.context) == FINISHED
    assert lane.eof


def test_known_end_saves_the_last_read(ends):
    rig, writer, lane, reader = ends
    writer.send(b"bye")
    writer.close()
    lane.ended = True
    assert lane.turn(rig.context) == FINISHED
    assert reader.recv(64) == b"bye"


def fill(sock):
    while True:
        try:
            sock.send(bytes(4096))
        except BlockingIOError:
            return


def test_no_room_keeps_one_read_and_finishes_after_it(ends):
    rig, writer, lane, reader = ends
    fill(lane.dst)
    writer.send(b"last")
    writer.close()
    lane.ended = True
    assert lane.turn(rig.context) == BLOCKED
    assert bytes(lane.backlog) == b"last"
    assert lane.turn(rig.context) == BLOCKED
    try:
        while True:
            data = reader.recv(1 << 16)
    except BlockingIOError:
        pass
    assert lane.turn(rig.context) == FINISHED
    assert data != b"last"
    assert reader.recv(64) == b"last"
    assert lane.backlog is None


def test_bulk_goes_over_to_splice_and_back(ends, monkeypatch):
    monkeypatch.setattr(module, "BULK_BYTES", 1000)
    rig, writer, lane, reader = ends
    payload = os.urandom(50_000)
    for _ in range(4):
        writer.send(payload)
        while lane.turn(rig.context) == MORE:
            pass
        got = b""
        while len(got) < len(payload):
            got += reader.recv(1 << 16)
        assert got == payload
    assert lane.bulk == SPLICING
    assert rig.tracker.spliced > 0
    assert lane.pipe is None, "an idle lane holds no pipe"
    writer.send(b"small talk")
    assert lane.turn(rig.context) == DRAINED
    assert lane.bulk == 0
    assert reader.recv(64) == b"small talk"


def test_released_pipe_with_bytes_inside_is_destroyed(ends):
    rig, writer, lane, _reader = ends
    fill(lane.dst)
    lane.bulk = 2
    writer.send(b"stuck")
    assert lane.turn(rig.context) == BLOCKED
    assert lane.pipe.held == 5
    lane.release(rig.context)
    assert rig.pipes.alive == 0


def test_failed_destination_is_an_error(ends):
    rig, writer, lane, reader = ends
    reader.close()
    writer.send(b"x")
    with pytest.raises(BrokenPipeError):
        lane.turn(rig.context)
