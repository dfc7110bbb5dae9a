"""`mihomo-tproxy rig` as far as it goes without a rig."""

from __future__ import annotations

import argparse
import os

import pytest

from mihomo_tproxy.cli import rig
from mihomo_tproxy.errors import RigError
from mihomo_tproxy.rig import state


@pytest.fixture
def command(tmp_path, monkeypatch):
    monkeypatch.setattr(state, "STATE_DIR", tmp_path / "state")
    parser = argparse.ArgumentParser()
    rig.add_parser(parser.add_subparsers())

    def run(*arguments):
        args = parser.parse_args(["rig", *map(str, arguments)])
        return args.handler(args)

    return run


def claimed(**more):
    mine = state.State(**{"name": "lab", "prefix": "px", "owner": 0, "owner_start": 0} | more)
    state.claim(mine)
    return mine


def test_list_says_who_holds_what(command, capsys):
    start = state.process_start(os.getpid())
    claimed(namespaces={"gateway": "px-gateway"})
    claimed(name="mine", owner=os.getpid(), owner_start=start)
    claimed(name="old", owner=os.getpid(), owner_start=1)
    assert command("list") == 0
    assert capsys.readouterr().out.splitlines() == [
        "lab  stays until taken down",
        "  gateway    px-gateway",
        f"mine  held by process {os.getpid()}",
        "old  orphaned: its owner has died",
    ]


def test_exec_refuses_what_is_not_there(command):
    with pytest.raises(RigError, match="no rig lab is up"):
        command("exec", "lab", "gateway", "--", "true")
    claimed(namespaces={"gateway": "px-gateway"})
    with pytest.raises(RigError, match="no node moon; there are gateway"):
        command("exec", "lab", "moon", "--", "true")
    with pytest.raises(RigError, match="no command to run"):
        command("exec", "lab", "gateway", "--")


def test_exec_becomes_the_command(command, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    ran = []
    monkeypatch.setattr(os, "execvp", lambda file, argv: ran.append((file, argv)))
    claimed(namespaces={"gateway": "px-gateway"})
    file = tmp_path / "whatever.yaml"
    file.write_text("name: lab\n")
    command("exec", file, "gateway", "--", "ls", "--", "-l")
    expected = ["nsenter", "--net=/run/netns/px-gateway", "--", "ls", "--", "-l"]
    assert ran == [("nsenter", expected)]


@pytest.mark.parametrize("arguments", [["down"], ["down", "lab", "--orphans"]])
def test_down_takes_one_or_the_orphans(command, arguments):
    with pytest.raises(RigError, match="a rig, or --orphans"):
        command(*arguments)


def test_down(command, capsys, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    claimed()
    claimed(name="old", owner=os.getpid(), owner_start=1)
    assert command("down", "--orphans") == 0
    assert command("down", "lab") == 0
    assert capsys.readouterr().out == "rig old is down\nrig lab is down\n"
    assert state.all_states() == []
