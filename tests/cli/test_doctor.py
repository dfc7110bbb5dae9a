"""`doctor`: each finding has a state, and only what is needed fails the whole."""

from __future__ import annotations

import json

import pytest

from mihomo_tproxy import cli
from mihomo_tproxy.cli import doctor
from mihomo_tproxy.cli.doctor import MISSING, NOTE, PRESENT, Finding
from mihomo_tproxy.errors import BpfUnavailable, GatewayError


def test_what_looks_well_is_present():
    assert doctor._check("bcc", lambda: "/usr/bin/python3") == ("bcc", PRESENT, "/usr/bin/python3")


@pytest.mark.parametrize(("needed", "state"), [(True, MISSING), (False, NOTE)])
@pytest.mark.parametrize("error", [BpfUnavailable("install it"), OSError("install it")])
def test_what_fails_says_why(needed, state, error):
    def look():
        raise error

    assert doctor._check("bcc", look, needed=needed) == ("bcc", state, "install it")


@pytest.mark.parametrize(
    ("release", "fine"),
    [("5.15.0-91-generic", True), ("6.1.0", True), ("5.10.0-28-amd64", False), ("4.19.0", False)],
)
def test_kernels(monkeypatch, release, fine):
    class Name:
        pass

    Name.release = release
    monkeypatch.setattr(doctor.os, "uname", lambda: Name)
    if fine:
        assert doctor._kernel() == release
    else:
        with pytest.raises(GatewayError, match=r"5\.15"):
            doctor._kernel()


def test_forwarding_that_is_off_is_missing_for_ipv4_alone(monkeypatch):
    monkeypatch.setattr(doctor, "_sysctl", lambda _path: "0")
    findings = doctor._sysctls()
    assert [finding.state for finding in findings] == [MISSING, NOTE]
    assert "sysctl -w net.ipv4.ip_forward=1" in findings[0].detail


@pytest.mark.parametrize(("state", "code"), [(PRESENT, 0), (NOTE, 0), (MISSING, 1)])
def test_the_exit_code_is_whether_anything_needed_is_missing(monkeypatch, capsys, state, code):
    monkeypatch.setattr(doctor, "examine", lambda: [Finding("bcc", state, "x")])
    assert cli.main(["doctor"]) == code
    assert capsys.readouterr().out.splitlines()[1].split() == ["bcc", state, "x"]
    assert cli.main(["doctor", "--json"]) == code
    assert json.loads(capsys.readouterr().out) == [{"name": "bcc", "state": state, "detail": "x"}]
