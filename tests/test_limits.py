"""Open files: raised when they can be, left alone when they cannot."""

from __future__ import annotations

import resource

import pytest

from mihomo_tproxy import limits


@pytest.fixture
def files(monkeypatch):
    """A kernel that allows 1024 of 4096, and more for whoever may ask."""
    state = {"now": (1024, 4096), "most": 4096}

    def setrlimit(_which, pair):
        if pair[1] > state["most"]:
            raise ValueError("not allowed to raise maximum limit")
        state["now"] = pair

    monkeypatch.setattr(resource, "getrlimit", lambda _which: state["now"])
    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    return state


def test_the_privileged_get_what_they_want(files):
    files["most"] = 1_000_000
    assert limits.raise_open_files(100_000) == 100_000


def test_others_get_the_hard_limit(files):
    assert limits.raise_open_files(100_000) == 4096


def test_a_limit_is_never_lowered(files):
    files["now"] = (4096, 4096)
    assert limits.raise_open_files(10) == 4096
