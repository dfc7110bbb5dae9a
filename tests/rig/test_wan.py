"""One direction of the line, with a clock of our own."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from mihomo_tproxy.rig import wan
from mihomo_tproxy.rig.topology import WanProfile
from mihomo_tproxy.rig.wan import Direction, Line


def direction(**profile):
    return Direction(asdict(WanProfile(**profile)), salt=1)


def times(line):
    return [leave for leave, _, _ in sorted(line.heap)]


def test_a_packet_stays_for_the_delay():
    line = direction(delay_ms=20)
    line.push(b"x", 100.0)
    assert line.pop_due(100.0199) is None
    assert line.pop_due(100.0201) == b"x"
    assert line.pop_due(200.0) is None


def test_the_rate_spaces_packets_and_the_delay_comes_on_top():
    line = direction(rate_mbit=8, delay_ms=10)
    for _ in range(3):
        line.push(bytes(1000), 5.0)
    assert times(line) == pytest.approx([5.011, 5.012, 5.013])


def test_an_idle_line_gives_no_credit():
    line = direction(rate_mbit=8)
    line.push(bytes(1000), 1.0)
    line.push(bytes(1000), 9.0)
    line.push(bytes(1000), 9.0)
    assert times(line) == pytest.approx([1.001, 9.001, 9.002])


def test_the_queue_has_a_cap():
    line = direction(rate_mbit=8, queue_kb=10)
    for _ in range(50):
        line.push(bytes(1000), 1.0)
    assert line.counters["queue_full"] == 39
    assert len(line.heap) == 11


def test_a_line_without_rate_has_a_cap_too(monkeypatch):
    monkeypatch.setattr(wan, "MAX_HELD_BYTES", 2500)
    line = direction(delay_ms=1000)
    for _ in range(4):
        line.push(bytes(1000), 1.0)
    assert line.counters["queue_full"] == 2
    while line.pop_due(3.0):
        pass
    line.push(bytes(1000), 4.0)
    assert len(line.heap) == 1


def test_jitter_stays_within_bounds_and_keeps_the_order():
    line = direction(delay_ms=10, jitter_ms=5)
    for number in range(500):
        line.push(number.to_bytes(2, "big"), number * 0.001)
    left = [line.heap and int.from_bytes(line.pop_due(1e9), "big") for _ in range(500)]
    assert left == list(range(500))
    spaced = direction(delay_ms=10, jitter_ms=5)
    for number in range(500):
        spaced.push(b"x", float(number))
    delays = [leave - number for number, leave in enumerate(times(spaced))]
    assert 0.005 <= min(delays) < 0.006
    assert 0.014 < max(delays) <= 0.0151


def test_jitter_reorders_when_asked():
    line = direction(delay_ms=10, jitter_ms=5, reorder=True)
    for number in range(100):
        line.push(number.to_bytes(2, "big"), number * 0.0001)
    left = [int.from_bytes(line.pop_due(1e9), "big") for _ in range(100)]
    assert sorted(left) == list(range(100))
    assert left != list(range(100))


def test_loss_is_seeded_and_of_the_size_asked_for():
    outcomes = []
    for _ in range(2):
        line = direction(loss=0.1, seed=7)
        for _ in range(10_000):
            line.push(b"x", 1.0)
        outcomes.append(line.counters["lost"])
    assert outcomes[0] == outcomes[1]
    assert 900 < outcomes[0] < 1100
    other = direction(loss=0.1, seed=8)
    for _ in range(10_000):
        other.push(b"x", 1.0)
    assert other.counters["lost"] != outcomes[0]


def test_jitter_does_not_change_which_packets_are_lost():
    def survivors(**more):
        line = direction(loss=0.3, delay_ms=5, **more)
        for number in range(200):
            line.push(number.to_bytes(2, "big"), float(number))
        return sorted(packet for _, _, packet in line.heap)

    assert survivors() == survivors(jitter_ms=5)


def test_a_change_leaves_packets_on_the_wire_their_times():
    line = direction(delay_ms=100)
    line.push(b"old", 1.0)
    line.configure(asdict(WanProfile(delay_ms=1, reorder=True)))
    line.push(b"new", 1.0)
    assert line.pop_due(1.05) == b"new"
    assert line.pop_due(1.05) is None
    assert line.pop_due(1.1001) == b"old"


def test_directions_take_their_own_profiles():
    line = Line(0, 1, asdict(WanProfile(delay_ms=10, down=WanProfile(delay_ms=50))))
    line.up.push(b"x", 0.0)
    line.down.push(b"x", 0.0)
    assert (times(line.up), times(line.down)) == ([0.01], [0.05])
