"""`cleanup`: says what it removed, and leaves a running gateway alone."""

from __future__ import annotations

import os

import pytest

from mihomo_tproxy import cli
from mihomo_tproxy.cli import cleanup


@pytest.fixture
def host(monkeypatch):
    """A host in a dict: what an instance has left, and whether one runs."""
    left = {"netlink": [], "pins": False, "runs": False}

    class Instance:
        def is_running(self):
            return left["runs"]

        def read_state(self):
            return {"pid": 42}

        def remove(self):
            return left["pins"]

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(cleanup, "Instance", Instance)
    monkeypatch.setattr(cleanup.netlink, "remove_all", lambda: list(left["netlink"]))
    return left


def test_a_clean_host(host, capsys):
    assert cli.main(["cleanup"]) == 0
    assert capsys.readouterr().out == "nothing to remove\n"


def test_everything_removed_is_named(host, capsys):
    host |= {"netlink": ["rule for lan0"], "pins": True}
    assert cli.main(["cleanup"]) == 0
    assert capsys.readouterr().out == "removed rule for lan0\nremoved pinned programs and maps\n"


def test_a_running_gateway_is_not_disturbed(host, capsys):
    host |= {"netlink": ["rule for lan0"], "runs": True}
    assert cli.main(["cleanup"]) == 3
    printed = capsys.readouterr()
    assert "the gateway runs here (pid 42)" in printed.err
    assert printed.out == ""
