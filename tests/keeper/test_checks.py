"""Tests of proxies: how many at a time, and each only once."""

from __future__ import annotations

import asyncio
import logging

from mihomo_tproxy.keeper.checks import CONCURRENCY, Checks
from mihomo_tproxy.keeper.history import History
from mihomo_tproxy.keeper.probe import Result


class Probes:
    """Plays `probe`: every test waits until it is released."""

    def __init__(self):
        self.running = []
        self.asked = []
        self.gate = asyncio.Event()

    async def __call__(self, name, url, timeout_s):
        self.asked.append((name, url, timeout_s))
        self.running.append(name)
        await self.gate.wait()
        self.running.remove(name)
        return Result(len(name), 204)


def made():
    probes, history, heard = Probes(), History(), []
    loop = asyncio.get_running_loop()
    checks = Checks(loop, history, probes, lambda: 1000.0)
    return checks, probes, history, heard, lambda name, sample: heard.append((name, *sample))


async def settle():
    for _ in range(20):
        await asyncio.sleep(0)


async def test_result_goes_everywhere():
    checks, probes, history, heard, done = made()
    probes.gate.set()
    checks.request("abc", "u", 5.0, done, since=0.0)
    await settle()
    assert heard == [("abc", 1000.0, 3, 204)]
    assert history.last("abc", "u") == (1000.0, 3, 204)
    await checks.close()


async def test_ten_at_a_time():
    checks, probes, _, heard, done = made()
    for number in range(25):
        checks.request(str(number), "u", 5.0, done, since=0.0)
    await settle()
    assert len(probes.running) == CONCURRENCY == 10
    probes.gate.set()
    await settle()
    assert [name for name, *_ in heard] == [str(number) for number in range(25)]
    await checks.close()


async def test_each_once():
    checks, probes, _, heard, done = made()
    now = asyncio.get_running_loop().time()
    checks.request("a", "u", 5.0, done, since=now)
    checks.request("a", "u", 7.0, done, since=now)
    checks.request("a", "v", 5.0, done, since=now)
    await settle()
    assert probes.asked == [("a", "u", 7.0), ("a", "v", 5.0)]
    probes.gate.set()
    await settle()
    checks.request("a", "u", 5.0, done, since=now)
    assert len(heard) == 4
    assert len(probes.asked) == 2
    await checks.close()


async def test_result_of_before_is_not_good_enough():
    checks, probes, _, heard, done = made()
    probes.gate.set()
    checks.request("a", "u", 5.0, done, since=0.0)
    await settle()
    checks.request("a", "u", 5.0, done, since=asyncio.get_running_loop().time() + 1)
    checks.request("a", "u", 5.0, done)
    await settle()
    assert (len(heard), len(probes.asked)) == (3, 2)
    checks.forget_times()
    checks.request("a", "u", 5.0, done, since=0.0)
    await settle()
    assert len(probes.asked) == 3
    await checks.close()


async def test_who_waits_goes_first():
    checks, probes, _, heard, done = made()
    for number in range(12):
        checks.request(str(number), "u", 5.0, done, since=0.0)
    checks.request("now", "u", 5.0, done)
    await settle()
    probes.gate.set()
    await settle()
    assert probes.asked[CONCURRENCY][0] == "now"
    assert len(heard) == 13
    await checks.close()


async def test_probe_that_breaks_counts_as_dead(caplog):
    checks, _, history, heard, done = made()

    async def broken(name, url, timeout_s):
        raise ZeroDivisionError

    checks.probe = broken
    with caplog.at_level(logging.CRITICAL, "keeper"):
        checks.request("a", "u", 5.0, done)
        await settle()
    assert heard == [("a", 1000.0, 0, 0)]
    assert history.last("a", "u").status == 0
    await checks.close()


async def test_close_tells_nobody():
    checks, _, _, heard, done = made()
    for number in range(12):
        checks.request(str(number), "u", 5.0, done)
    await settle()
    await checks.close()
    await settle()
    assert heard == []
