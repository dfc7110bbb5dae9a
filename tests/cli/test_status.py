"""`status` for people, from a report as it is for programs."""

from __future__ import annotations

import json
import os

import pytest

from mihomo_tproxy import cli
from mihomo_tproxy.cli import status
from mihomo_tproxy.dataplane.abi import CLIENT_ROUTES, Route
from mihomo_tproxy.errors import DataplaneError

NOTHING = {"packets": 0, "bytes": 0, "flows": 0}


def count(packets=0, size=0, flows=0):
    return {"packets": packets, "bytes": size, "flows": flows}


@pytest.fixture
def report():
    """A gateway that has run for a while."""
    routes = {route.name.lower(): dict(NOTHING) for route in Route}
    routes["kernel"] = count(1000, 1 << 20, 7)
    routes["drop"] = count(3, 180, 3)
    client = {route.name.lower(): dict(NOTHING) for route in list(Route)[:CLIENT_ROUTES]}
    client |= {"address": "192.168.77.10", "idle_s": 0.5, "kernel": count(1000, 1 << 20, 7)}
    counters = {"tcp-live": 4, "spliced-bytes": 3 << 20, "gc-longest-us": 250}
    counters |= {"opened:tcp:DIRECT": 9, "closed:tcp:DIRECT": 5, "down-bytes:tcp:DIRECT": 2048}
    counters |= {"opened:tcp:REJECT": 0, "opened:udp:": 8, "error:dial-refused": 2}
    return {
        "running": True, "pid": 42, "config": "/etc/x.yaml", "uptime_s": 5.0, "lan": ["lan0"],
        "mark": 0x20000000, "table": 2330, "generation": 3, "routes": routes, "clients": [client],
        "workers": {"0": counters},
    }  # fmt: skip


def test_the_head_says_who_runs(report):
    head = status.text(report).splitlines()[0]
    for part in ("running (pid 42)", "lan0 steered", "generation 3", "0x20000000", "2330"):
        assert part in head


def test_a_dead_gateway_is_said_to_be_dead(report):
    report |= {"running": False, "lan": []}
    head = status.text(report).splitlines()[0]
    assert "NOT RUNNING" in head
    assert "no interface steered" in head


def test_only_routes_with_packets_are_listed(report):
    lines = status.text(report).splitlines()
    assert any(line.split() == ["kernel", "(direct)", "7", "1000", "1.0", "MiB"] for line in lines)
    assert any(line.startswith("dropped by rule") for line in lines)
    assert not any(line.startswith("malformed") for line in lines)


def test_clients_and_workers(report):
    text = status.text(report)
    assert "192.168.77.10" in text
    assert "worker 0: 4 TCP and 0 UDP flows, 3.0 MiB spliced" in text
    assert "the longest 0.250 ms" in text
    assert "errors: dial-refused 2" in text


def test_only_targets_that_were_used_are_listed(report):
    lines = [line.split() for line in status.text(report).splitlines()]
    assert ["tcp:DIRECT", "9", "5", "0", "B", "2.0", "KiB"] in lines
    assert not any(line and line[0] in ("tcp:REJECT", "udp:") for line in lines)


def test_json_is_the_report(report, monkeypatch, capsys):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(status, "collect", lambda _instance: report)
    assert cli.main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == report


def test_without_a_gateway_it_says_so(tmp_path):
    class Nothing:
        pins = tmp_path / "none"

    with pytest.raises(DataplaneError, match="no gateway runs"):
        status.collect(Nothing())


def test_users_are_told_to_be_root(monkeypatch, capsys):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for arguments in (["status"], ["cleanup"], ["demo", "--once"]):
        assert cli.main(arguments) == 3
        assert "root is needed" in capsys.readouterr().err
