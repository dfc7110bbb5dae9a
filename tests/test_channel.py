"""The far end of the supervisor's socket pairs: whole messages, and never a wait."""

from __future__ import annotations

import asyncio
import os
import pickle
import socket

import pytest

from mihomo_tproxy import channel as module
from mihomo_tproxy.channel import Channel
from mihomo_tproxy.messages import CARRIES, LENGTH, receive_message, send_message


class Ends:
    """A channel, the supervisor's socket, and what was heard."""

    def __init__(self):
        self.theirs, ours = socket.socketpair()
        self.theirs.settimeout(10)
        self.heard = []
        self.changed = asyncio.Event()
        loop = asyncio.get_running_loop()
        self.channel = Channel(loop, ours, self._take, lambda: self._take("end"))

    def _take(self, message):
        self.heard.append(message)
        self.changed.set()

    async def until(self, count):
        while len(self.heard) < count:
            self.changed.clear()
            await self.changed.wait()


@pytest.fixture
async def ends():
    made = Ends()
    yield made
    made.channel.close()
    made.theirs.close()


async def test_both_ways(ends):
    send_message(ends.theirs, ("reload", b"x", 1))
    send_message(ends.theirs, ("select", "g", "a"))
    await ends.until(2)
    assert ends.heard == [("reload", b"x", 1), ("select", "g", "a")]
    ends.channel.send("ready")
    assert receive_message(ends.theirs) == ("ready",)


async def test_byte_by_byte(ends):
    first, second = socket.socketpair()
    send_message(first, ("check", 1, "a"))
    data = second.recv(65536)
    for octet in data:
        ends.theirs.send(bytes([octet]))
        await asyncio.sleep(0)
    await ends.until(1)
    assert ends.heard == [("check", 1, "a")]
    first.close()
    second.close()


async def test_large_messages_wait_for_a_busy_supervisor(ends):
    large = bytes(3 << 20)
    ends.channel.send("health", large)
    ends.channel.send("state", 1)
    assert not ends.channel.idle
    receiving = asyncio.to_thread(lambda: [receive_message(ends.theirs) for _ in range(2)])
    assert await receiving == [("health", large), ("state", 1)]
    assert ends.channel.idle


async def test_large_messages_of_a_supervisor(ends):
    large = bytes(3 << 20)
    await asyncio.to_thread(send_message, ends.theirs, ("reload", large))
    await ends.until(1)
    assert ends.heard == [("reload", large)]


async def test_end(ends):
    ends.theirs.close()
    await ends.until(1)
    assert ends.heard == ["end"]
    ends.channel.send("nobody")


async def test_end_noticed_while_sending(ends):
    ends.theirs.close()
    ends.channel.send("nobody")
    assert ends.heard == ["end"]


async def test_supervisor_that_never_reads(ends, monkeypatch):
    monkeypatch.setattr(module, "MAX_WAITING", 1 << 20)
    ends.channel.send("health", bytes(3 << 20))
    assert ends.heard == ["end"]


async def test_nonsense(ends):
    ends.theirs.send(LENGTH.pack(1 << 40))
    await ends.until(1)
    assert ends.heard == ["end"]


async def test_a_descriptor_goes_with_its_message(ends):
    reader, writer = os.pipe()
    send_message(ends.theirs, ("select", "g", "a"))
    send_message(ends.theirs, ("reload", bytes(1000)), writer)
    send_message(ends.theirs, ("select", "g", "b"))
    os.close(writer)
    await ends.until(3)
    assert [message[0] for message in ends.heard] == ["select", "reload", "select"]
    *_, descriptor = ends.heard[1]
    os.write(descriptor, b"x")
    assert os.read(reader, 2) == b"x"
    os.close(descriptor)
    assert os.read(reader, 2) == b""
    os.close(reader)


async def test_a_descriptor_whose_message_does_not_come_is_closed(ends):
    reader, writer = os.pipe()
    socket.send_fds(ends.theirs, [LENGTH.pack(100 | CARRIES) + b"short"], [writer])
    os.close(writer)
    ends.theirs.close()
    await ends.until(1)
    assert ends.heard == ["end"]
    assert os.read(reader, 1) == b""
    os.close(reader)


async def test_a_descriptor_that_got_lost(ends):
    data = pickle.dumps(("reload",))
    ends.theirs.sendall(LENGTH.pack(len(data) | CARRIES) + data)
    await ends.until(1)
    assert ends.heard == [("reload", -1)]


async def test_what_cannot_be_carried_out_does_not_stop_the_next(ends, caplog):
    def take(message):
        if message[0] == "bad":
            raise LookupError("no such thing")
        ends._take(message)

    ends.channel._take = take
    both = b"".join(
        LENGTH.pack(len(data)) + data for data in map(pickle.dumps, [("bad",), ("good",)])
    )
    ends.theirs.sendall(both)
    await ends.until(1)
    assert ends.heard == [("good",)]
    assert "no such thing" in caplog.text
