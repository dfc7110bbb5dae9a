"""sd_notify: one datagram, and never an error."""

from __future__ import annotations

import socket

import pytest

from mihomo_tproxy import systemd


@pytest.fixture
def manager(tmp_path, monkeypatch):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield sock


def test_states_arrive(manager):
    systemd.notify("READY=1")
    assert manager.recv(100) == b"READY=1"


def test_reloading_tells_the_time(manager):
    systemd.notify("RELOADING=1")
    state, time = manager.recv(100).split(b"\n")
    assert state == b"RELOADING=1"
    assert int(time.removeprefix(b"MONOTONIC_USEC=")) > 0


def test_an_abstract_address(monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("")  # the kernel picks an abstract name
        sock.settimeout(5)
        name = sock.getsockname()[1:].decode()
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        systemd.notify("STOPPING=1")
        assert sock.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize("address", ["", "/nonexistent/notify"])
def test_without_a_manager_nothing_happens(monkeypatch, address):
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert systemd.notify("READY=1") is None
