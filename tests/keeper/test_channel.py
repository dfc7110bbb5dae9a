"""The keeper's end of the socket pair: whole messages, and never a wait."""

from __future__ import annotations

import asyncio
import socket

import pytest

from mihomo_tproxy.keeper import channel as module
from mihomo_tproxy.keeper.channel import Channel
from mihomo_tproxy.messages import LENGTH, receive_message, send_message


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
