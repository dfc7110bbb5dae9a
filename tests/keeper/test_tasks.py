"""Tasks have an owner."""

from __future__ import annotations

import asyncio
import logging

from mihomo_tproxy.keeper.tasks import Tasks


async def test_failure_is_told(caplog):
    async def fail():
        raise ZeroDivisionError

    tasks = Tasks()
    with caplog.at_level(logging.ERROR):
        await asyncio.wait([tasks.spawn(fail())])
        await asyncio.sleep(0)
    assert "ZeroDivisionError" in caplog.text
    assert not len(tasks)


async def test_close_ends_all():
    tasks = Tasks()
    task = tasks.spawn(asyncio.sleep(60))
    assert len(tasks) == 1
    await tasks.close()
    assert task.cancelled()
    assert not len(tasks)
