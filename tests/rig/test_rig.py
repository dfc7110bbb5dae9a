"""A rig that is down: what it says, and what it refuses."""

from __future__ import annotations

import os

import pytest

from mihomo_tproxy.errors import RigError
from mihomo_tproxy.rig import Rig, Topology, WanProfile


def test_a_rig_that_is_down_says_so():
    rig = Rig.standard()
    for use in (
        lambda: rig.gateway,
        lambda: rig.clients,
        lambda: rig.name,
        lambda: rig.pin_directory,
        lambda: rig.set_wan(WanProfile()),
        lambda: rig.servers,
    ):
        with pytest.raises(RigError, match="the rig is down"):
            use()
    assert rig.down() == []


def test_destinations_are_told_apart():
    rig = Rig(Topology())
    assert rig.destination(1) == "198.51.100.1"
    assert rig.destination(254, 6) == "2001:db8:51::fe"
    for number in (0, 255):
        with pytest.raises(RigError, match="not within"):
            rig.destination(number)


def test_switches():
    assert Rig.standard(bridged=True).lan_interfaces == ["br-lan"]
    assert Rig.standard(switched=True).lan_interfaces == ["lan0"]
    assert Rig.standard(vlan=3, clients=1).lan_interfaces == ["lan0.3"]
    with pytest.raises(RigError, match="not both"):
        Rig.standard(bridged=True, switched=True)
    with pytest.raises(RigError, match="goes with neither"):
        Rig.standard(bridged=True, l3=True)


def test_from_file(tmp_path):
    path = tmp_path / "office.yml"
    path.write_text("clients: 1\n")
    assert Rig.from_file(path).topology == Topology(name="office", clients=1)


def test_it_needs_root(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(RigError, match="needs root"):
        Rig.standard().up()
