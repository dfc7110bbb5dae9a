"""A line with delay, jitter, loss and rate between two TUN devices, in user space.

    python -m mihomo_tproxy.rig.wan PROFILE.json LEFT-NETNS LEFT-IF RIGHT-NETNS RIGHT-IF

It creates both devices, prints `ready`, and moves IP packets until it is killed. SIGHUP reads the
profile again (it prints `profile N loaded` then); SIGTERM prints the counters as one JSON line.

One direction is a bottleneck followed by a length of wire:

    read ── lost? ── queue (queue_kb) ── rate ── delay ± jitter ── write

Invariants: the directions share nothing but the process. Without `reorder` no packet leaves before
an earlier one of its direction, so jitter never reorders. A packet's times follow from when it was
read, not from when this process got to run: being late once does not add up. The loop sleeps in
select(2), whose timeout has microseconds, under a real-time priority where the host grants one.
"""

from __future__ import annotations

import gc
import heapq
import json
import os
import random
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mihomo_tproxy.rig import host

if TYPE_CHECKING:
    from types import FrameType

READ_BATCH = 64
"""Packets taken from one device before due ones are written and the other device has its turn."""
MAX_PACKET = 65_536
MAX_HELD_BYTES = 64 * 1024 * 1024
"""What one direction may hold on its wire; without a rate nothing else bounds it."""
PRIORITY = 1

_PR_SET_TIMERSLACK = 29


class Direction:
    """One direction of the line: decides when each packet leaves, or that it never does."""

    def __init__(self, profile: dict[str, Any], salt: int) -> None:
        self.heap: list[tuple[float, int, bytes]] = []
        """(time to leave, number, packet)"""
        self.counters = dict.fromkeys(("packets", "bytes", "lost", "queue_full", "write_failed"), 0)
        self._salt = salt
        self._number = 0
        self._held = 0
        self._free_at = 0.0
        self._last_leave = 0.0
        self.configure(profile)

    def configure(self, profile: dict[str, Any]) -> None:
        """Takes a profile for packets from now on; those on the wire keep their times."""
        self._delay = profile["delay_ms"] / 1e3
        self._jitter = profile["jitter_ms"] / 1e3
        self._loss = profile["loss"]
        rate = profile["rate_mbit"]
        self._seconds_per_byte = 8e-6 / rate if rate else 0.0
        self._queue_s = profile["queue_kb"] * 1000 * self._seconds_per_byte
        self._reorder = profile["reorder"]
        # Loss and jitter draw from generators of their own, so that one's setting leaves the other
        # where it was.
        self._loss_random = random.Random(f"loss {profile['seed']} {self._salt}").random
        self._jitter_random = random.Random(f"jitter {profile['seed']} {self._salt}").uniform

    def push(self, packet: bytes, now: float) -> None:
        """Takes a packet read at `now` (seconds, monotonic)."""
        size = len(packet)
        if self._loss and self._loss_random() < self._loss:
            self.counters["lost"] += 1
            return
        leave = now
        if self._seconds_per_byte:
            start = max(now, self._free_at)
            if start - now > self._queue_s:
                self.counters["queue_full"] += 1
                return
            leave = self._free_at = start + size * self._seconds_per_byte
        if self._held + size > MAX_HELD_BYTES:
            self.counters["queue_full"] += 1
            return
        leave += self._delay
        if self._jitter:
            leave += self._jitter_random(-self._jitter, self._jitter)
        if not self._reorder:
            leave = self._last_leave = max(leave, self._last_leave)
        self._number += 1
        self._held += size
        heapq.heappush(self.heap, (leave, self._number, packet))

    def pop_due(self, now: float) -> bytes | None:
        """The next packet whose time has come, None when there is none."""
        if not self.heap or self.heap[0][0] > now:
            return None
        packet = heapq.heappop(self.heap)[2]
        self._held -= len(packet)
        self.counters["packets"] += 1
        self.counters["bytes"] += len(packet)
        return packet


class Line:
    """Two devices and the two directions between them."""

    def __init__(self, left: int, right: int, profile: dict[str, Any]) -> None:
        up, down = _directions(profile)
        self.up = Direction(up, 1)
        self.down = Direction(down, 2)
        self.changes = 0
        """How often the profile was changed."""
        self._paths = ((left, right, self.up), (right, left, self.down))

    def configure(self, profile: dict[str, Any]) -> None:
        """Takes a new profile for both directions."""
        up, down = _directions(profile)
        self.up.configure(up)
        self.down.configure(down)

    def run(self) -> None:
        """Moves packets until the process ends."""
        descriptors = [source for source, _, _ in self._paths]
        monotonic = time.monotonic
        while True:
            heads = [path[2].heap[0][0] for path in self._paths if path[2].heap]
            timeout = max(0.0, min(heads) - monotonic()) if heads else None
            ready = select.select(descriptors, (), (), timeout)[0]
            for source, sink, direction in self._paths:
                if source in ready:
                    _fill(source, direction)
                _drain(sink, direction)


def _fill(source: int, direction: Direction) -> None:
    """Reads what has come, a batch at most."""
    try:
        for _ in range(READ_BATCH):
            direction.push(os.read(source, MAX_PACKET), time.monotonic())
    except BlockingIOError:
        pass
    except OSError:
        # The device is down: nothing can be read, and select says so again and again.
        time.sleep(0.001)


def _drain(sink: int, direction: Direction) -> None:
    """Writes what is due."""
    while (packet := direction.pop_due(time.monotonic())) is not None:
        try:
            os.write(sink, packet)
        except OSError:
            direction.counters["write_failed"] += 1


def _directions(profile: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    return profile, profile["down"] or profile


def _be_punctual() -> None:
    """No collector pauses, no timer slack, and the processor when a packet is due."""
    gc.collect()
    gc.freeze()
    gc.disable()
    host.libc.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))


def main(arguments: list[str]) -> int:
    """Creates the devices and runs the line."""
    path = Path(arguments[0])
    ends = (arguments[1:3], arguments[3:5])
    left, right = (host.open_tun(netns, name) for netns, name in ends)
    line = Line(left, right, json.loads(path.read_text(encoding="utf-8")))

    def reload(_number: int, _frame: FrameType | None) -> None:
        line.configure(json.loads(path.read_text(encoding="utf-8")))
        line.changes += 1
        _say(f"profile {line.changes} loaded")

    def report(_number: int, _frame: FrameType | None) -> None:
        _say(json.dumps({"up": line.up.counters, "down": line.down.counters}))
        sys.exit(0)

    signal.signal(signal.SIGHUP, reload)
    signal.signal(signal.SIGTERM, report)
    _be_punctual()
    _say("ready")
    line.run()
    return 0


def _say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
