"""Names to addresses: hosts, cache, single flight, failures."""

from __future__ import annotations

import asyncio
import socket

import pytest

from mihomo_tproxy.config.schema import HostEntry
from mihomo_tproxy.net import resolve as module
from mihomo_tproxy.net.resolve import SystemResolver


class System:
    """Stands in for getaddrinfo."""

    def __init__(self, loop, answers) -> None:
        self.asked = []
        self.answers = answers
        loop.getaddrinfo = self

    async def __call__(self, name, port, *, type):
        self.asked.append(name)
        await asyncio.sleep(0)
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return [(0, 0, 0, "", (address, 0)) for address in answer]


@pytest.fixture
def made():
    """A resolver, the system behind it, and a clock."""
    loop = asyncio.new_event_loop()
    now = [0.0]
    system = System(
        loop,
        {
            "a.test": ["192.0.2.1", "192.0.2.1", "2001:db8::1"],
            "gone.test": socket.gaierror(-2, "unknown"),
        },
    )
    hosts = {
        "fixed.test": HostEntry(("192.0.2.9",)),
        "alias.test": HostEntry(alias="a.test"),
        "ring.test": HostEntry(alias="ring.test"),
    }
    resolver = SystemResolver(loop, hosts, lambda: now[0])
    yield resolver, system, now, loop
    resolver.close()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def ask(made, name):
    resolver, _, _, loop = made
    got = []
    resolver.resolve(name, got.append)
    for _ in range(50):
        if got:
            break
        loop.run_until_complete(asyncio.sleep(0))
    return got[0]


def test_literals_and_hosts_are_answered_at_once(made):
    resolver, system, _, _ = made
    got = []
    for name in ("192.0.2.3", "2001:db8::3", "fixed.test", "FIXED.test."):
        resolver.resolve(name, got.append)
    assert got == [("192.0.2.3",), ("2001:db8::3",), ("192.0.2.9",), ("192.0.2.9",)]
    assert system.asked == []


def test_an_alias_is_asked_for_by_its_target(made):
    assert ask(made, "alias.test") == ("192.0.2.1", "2001:db8::1")
    assert made[1].asked == ["a.test"]


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("Fixed.test.", ("fixed.test", ("192.0.2.9",))),
        ("alias.test", ("a.test", ())),
        ("other.test", ("other.test", ())),
    ],
)
def test_what_hosts_say_is_known_without_asking(made, name, known):
    assert made[0].in_hosts(name) == known
    assert made[1].asked == []


def test_answers_are_kept_for_a_while(made):
    for _ in range(3):
        assert ask(made, "a.test") == ("192.0.2.1", "2001:db8::1")
    assert made[1].asked == ["a.test"]
    made[2][0] += module.KEEP_S + 1
    ask(made, "a.test")
    assert made[1].asked == ["a.test", "a.test"]


def test_failures_are_kept_for_a_moment(made):
    assert ask(made, "gone.test") == ()
    assert ask(made, "gone.test") == ()
    made[2][0] += module.KEEP_FAILURE_S + 1
    assert ask(made, "gone.test") == ()
    assert made[1].asked == ["gone.test", "gone.test"]


def test_one_question_for_many_who_wait(made):
    resolver, system, _, loop = made
    got = []
    for _ in range(5):
        resolver.resolve("a.test", got.append)
    for _ in range(50):
        loop.run_until_complete(asyncio.sleep(0))
    assert got == [("192.0.2.1", "2001:db8::1")] * 5
    assert system.asked == ["a.test"]


def test_the_cache_is_bounded(made, monkeypatch):
    monkeypatch.setattr(module, "CACHE_LIMIT", 3)
    for number in range(10):
        made[1].answers[f"{number}.test"] = ["192.0.2.1"]
        ask(made, f"{number}.test")
    assert len(made[0]._cache) == 3


def test_a_ring_of_aliases_ends(made):
    made[1].answers["ring.test"] = []
    assert ask(made, "ring.test") == ()
