"""What needs no privileges of the host's side."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from mihomo_tproxy.errors import RigError
from mihomo_tproxy.rig import host


def test_sysctl_names_have_slashes_for_dots_in_interfaces():
    path = host.sysctl_path("net.ipv4.conf.lan0/10.rp_filter")
    assert path == Path("/proc/sys/net/ipv4/conf/lan0.10/rp_filter")


def test_root_is_asked_for(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(RigError, match="needs root"):
        host.require_host()


def test_a_missing_tool_is_named_with_its_package(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(host.shutil, "which", lambda tool: None if tool == "nsenter" else tool)
    with pytest.raises(RigError, match=r"nsenter \(package util-linux\)"):
        host.require_host()


def test_a_missing_namespace_is_a_sentence():
    with pytest.raises(RigError, match="no namespace none-such"), host.inside("none-such"):
        pass


def test_mounts_are_read_from_the_kernel():
    assert Path("/proc") in host.mounted("proc")
    assert host.mounted("no-such-kind") == []


def test_a_missing_interface_is_a_sentence(monkeypatch):
    monkeypatch.setattr(host, "inside", lambda netns: contextlib.nullcontext())
    assert host.interface_flags("here", "lo") & 0x8
    with pytest.raises(RigError, match="none0 in here: No such device"):
        host.interface_flags("here", "none0")
