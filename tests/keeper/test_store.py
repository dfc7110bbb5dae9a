"""The store: what it remembers, through crashes, corruption and company."""

from __future__ import annotations

import logging
import os
import random
import sqlite3
import subprocess
import sys
from contextlib import contextmanager

import pytest

from mihomo_tproxy.keeper.store import (
    FILE,
    SourceState,
    StoredDelay,
    load_delays,
    load_selections,
    load_sources,
    save_delays,
    save_selection,
    save_source,
)

ROWS = 40
WRITER = f"""
import sys, time
from mihomo_tproxy.keeper.store import StoredDelay, save_delays, save_selection
home, who, pause = sys.argv[1:]
for number in range(1, 1 << 30):
    save_delays(home, [StoredDelay(str(row), "u", 0.0, number, 204) for row in range({ROWS})])
    save_selection(home, who, str(number))
    print(number, flush=True)
    time.sleep(float(pause))
"""


@pytest.fixture
def home(tmp_path):
    return str(tmp_path)


@contextmanager
def writer(home, who, pause="0"):
    command = [sys.executable, "-c", WRITER, home, who, pause]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        try:
            yield child
        finally:
            child.kill()


def test_nothing_stored(home):
    assert (load_selections(home), load_delays(home), load_sources(home)) == ({}, [], {})
    assert not os.listdir(home)


def test_selections(home):
    save_selection(home, "g", "a")
    save_selection(home, "g", "b")
    save_selection(home, "h", "c")
    assert load_selections(home) == {"g": "b", "h": "c"}
    save_selection(home, "g", "")
    assert load_selections(home) == {"h": "c"}
    assert os.stat(os.path.join(home, FILE)).st_mode & 0o777 == 0o600


def test_delays_are_replaced(home):
    save_delays(home, [StoredDelay("a", "u", 1.5, 20, 204), StoredDelay("b", "u", 1.5, 0, 0)])
    kept = StoredDelay("c", "u", 2.5, 30, 200)
    save_delays(home, iter([kept]))
    assert load_delays(home) == [kept]


def test_sources(home):
    state = SourceState("http://a.test/", '"tag"', "Mon", "00ff", "upload=1")
    save_source(home, "p", SourceState())
    save_source(home, "p", state)
    assert load_sources(home) == {"p": state}


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_corrupt_file(home, caplog, content):
    path = os.path.join(home, FILE)
    for name in (path, f"{path}-journal"):
        with open(name, "wb") as file:
            file.write(content)
    with caplog.at_level(logging.ERROR):
        assert load_selections(home) == {}
        save_selection(home, "g", "a")
    assert load_selections(home) == {"g": "a"}
    assert len(caplog.records) == 1
    with open(f"{path}.corrupt", "rb") as file:
        assert file.read() == content
    assert not os.path.exists(f"{path}-journal")


def test_corrupt_pages(home):
    """The head is fine, the tables are not."""
    save_delays(home, [StoredDelay(str(row), "u" * 50, 0.0, 1, 204) for row in range(500)])
    with open(os.path.join(home, FILE), "r+b") as file:
        file.seek(4096)
        file.write(os.urandom(60_000))
    assert load_delays(home) == []
    save_selection(home, "g", "a")
    assert load_selections(home) == {"g": "a"}


def test_newer_version_is_left_alone(home):
    save_selection(home, "g", "a")
    with sqlite3.connect(os.path.join(home, FILE)) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(OSError, match="newer"):
        save_selection(home, "g", "b")
    assert os.listdir(home) == [FILE]


def test_no_place(tmp_path):
    with pytest.raises(OSError, match="no-such"):
        save_selection(str(tmp_path / "no-such"), "g", "a")


def test_kill_in_the_middle_of_writing(home):
    """A transaction is there as a whole or not at all, and what was reported is there."""
    chance = random.Random(4)
    for _ in range(8):
        with writer(home, "w") as child:
            for _ in range(1 + chance.randrange(20)):
                reported = int(child.stdout.readline())
            child.kill()
            rest = child.stdout.read().split(b"\n")[:-1]
            reported = int(rest[-1]) if rest else reported
        numbers = {each.delay_ms for each in load_delays(home)}
        assert len(load_delays(home)) == ROWS
        assert len(numbers) == 1
        assert reported <= numbers.pop() <= reported + 1
        assert reported <= int(load_selections(home)["w"]) <= reported + 1
    save_selection(home, "w", "")
    assert os.listdir(home) == [FILE]


def test_two_processes(home):
    with writer(home, "a", "0.005") as one, writer(home, "b", "0.005") as other:
        for _ in range(10):
            assert one.stdout.readline()
            assert other.stdout.readline()
    assert set(load_selections(home)) == {"a", "b"}
    assert len({each.delay_ms for each in load_delays(home)}) == 1
