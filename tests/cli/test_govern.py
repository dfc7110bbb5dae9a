"""`group`, `mode`, `reload`, `delay`: what is asked of the gateway, and what is printed."""

from __future__ import annotations

import json

import pytest
from support.playing import Gateway, group

from mihomo_tproxy import cli

REPORT = {
    "mode": "rule",
    "groups": [
        group("Proxy", "select", "Auto", "Auto", "tokyo", "DIRECT"),
        group("Auto", "url-test", "tokyo", "tokyo", "osaka"),
        group("Spread", "load-balance", None, "tokyo", "osaka", dead=["osaka"]),
        group("Inner", "fallback", "osaka", "osaka", hidden=True),
    ],
    "delays": {"tokyo": 42, "osaka": 0},
}


@pytest.fixture
def gateway(monkeypatch):
    found = Gateway(monkeypatch)
    found.answers["groups"] = REPORT
    return found


def lines(capsys):
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_the_list(gateway, capsys):
    assert cli.main(["group"]) == 0
    assert lines(capsys) == [
        ["group", "type", "takes", "delay", "members", "dead"],
        ["Proxy", "select", "Auto", "-", "3", "0"],
        ["Auto", "url-test", "tokyo", "42", "ms", "2", "0"],
        ["Spread", "load-balance", "(flow", "by", "flow)", "-", "2", "1"],
    ]
    cli.main(["group", "--json"])
    assert json.loads(capsys.readouterr().out) == REPORT


def test_one_group(gateway, capsys):
    assert cli.main(["group", "Auto"]) == 0
    assert lines(capsys) == [
        ["Auto,", "url-test"],
        ["member", "delay"],
        ["*", "tokyo", "42", "ms"],
        ["osaka", "failed"],
    ]
    cli.main(["group", "Spread"])
    assert lines(capsys)[-1] == ["osaka", "dead"]
    cli.main(["group", "Auto", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["now"], found["delays"]) == ("tokyo", {"tokyo": 42, "osaka": 0})


def test_selecting(gateway, capsys):
    gateway.answers["select"] = {"ok": True}
    assert cli.main(["group", "Proxy", "DIRECT"]) == 0
    assert capsys.readouterr().out == "Proxy: DIRECT\n"
    assert gateway.asked[-1] == {"command": "select", "group": "Proxy", "member": "DIRECT"}
    assert cli.main(["group", "Auto", "--auto"]) == 0
    assert capsys.readouterr().out == "Auto chooses again: tokyo\n"
    assert gateway.asked[-2] == {"command": "select", "group": "Auto", "member": ""}
    cli.main(["group", "Auto", "osaka", "--json"])
    assert json.loads(capsys.readouterr().out) == {"group": "Auto", "now": "osaka"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["group", "Prxy"], "there is no group 'Prxy', did you mean 'Proxy'?"),
        (["group", "Proxy", "tokio"], "'Proxy' has no member 'tokio', did you mean 'tokyo'?"),
        (["group", "--auto"], "--auto goes with a GROUP, and without a MEMBER"),
        (["group", "Auto", "tokyo", "--auto"], "--auto goes with a GROUP, and without a MEMBER"),
        (["delay", "tokio"], "there is no proxy or group 'tokio', did you mean 'tokyo'?"),
        (["delay", "nix", "--members"], "there is no group 'nix'"),
    ],
)
def test_what_cannot_be_asked(gateway, capsys, arguments, says):
    assert cli.main(arguments) == 1
    assert capsys.readouterr().err == f"mihomo-tproxy: {says}\n"
    assert all(request == {"command": "groups"} for request in gateway.asked)


def test_modes(gateway, capsys):
    assert cli.main(["mode"]) == 0
    assert capsys.readouterr().out == "rule\n"
    gateway.answers["mode"] = {"ok": True, "mode": "global"}
    cli.main(["mode", "GLOBAL", "--json"])
    assert json.loads(capsys.readouterr().out) == {"mode": "global"}
    assert gateway.asked[-1] == {"command": "mode", "mode": "GLOBAL"}


def test_reload(gateway, capsys):
    gateway.answers["reload"] = {"ok": True, "rules": 7}
    assert cli.main(["reload"]) == 0
    assert capsys.readouterr().out == "reloaded: 7 rules\n"
    gateway.answers["reload"] = "line 3: mode: odd"
    assert cli.main(["reload"]) == 1
    assert capsys.readouterr().err == "mihomo-tproxy: line 3: mode: odd\n"


def test_delays(gateway, capsys):
    gateway.answers["check"] = {"delay": 40, "status": 204}
    assert cli.main(["delay", "tokyo", "--url", "http://x.test/", "--timeout", "700"]) == 0
    assert capsys.readouterr().out == "tokyo: 40 ms\n"
    assert gateway.asked[-1] == {
        "command": "check", "name": "tokyo", "url": "http://x.test/", "timeout": 700,
    }  # fmt: skip
    gateway.answers["check-group"] = {"delays": {"tokyo": 39, "osaka": 0}}
    assert cli.main(["delay", "Auto", "--members"]) == 0
    assert lines(capsys)[2:] == [["*", "tokyo", "39", "ms"], ["osaka", "failed"]]


@pytest.mark.parametrize(
    "arguments", [["group"], ["mode"], ["mode", "rule"], ["reload"], ["delay", "x"]]
)
def test_without_a_gateway(monkeypatch, tmp_path, capsys, arguments):
    monkeypatch.setattr("mihomo_tproxy.dataplane.instance.RUN_DIR", str(tmp_path))
    assert cli.main(arguments) == 1
    said = capsys.readouterr().err
    assert said == "mihomo-tproxy: no gateway runs in this network namespace\n"
