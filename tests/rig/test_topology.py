"""Topologies from YAML: what is accepted, and that every mistake is named."""

from __future__ import annotations

import pytest

from mihomo_tproxy.errors import RigError
from mihomo_tproxy.rig.topology import LanMode, Topology, WanProfile, load_topology


def parse(tmp_path, text):
    path = tmp_path / "home.yaml"
    path.write_text(text)
    return load_topology(path)


def test_an_empty_file_is_the_standard_topology(tmp_path):
    assert parse(tmp_path, "") == Topology(name="home")


def test_every_key(tmp_path):
    text = """
    name: lab
    clients: 3
    lan: switched
    nat: true
    servers: false
    wan:
      delay-ms: 20
      jitter-ms: 2.5
      loss: 0.01
      rate-mbit: 100
      queue-kb: 64
      reorder: true
      seed: 9
      down: {delay-ms: 1}
    """
    wan = WanProfile(
        delay_ms=20,
        jitter_ms=2.5,
        loss=0.01,
        rate_mbit=100,
        queue_kb=64,
        reorder=True,
        seed=9,
        down=WanProfile(delay_ms=1),
    )
    assert parse(tmp_path, text) == Topology(
        name="lab", clients=3, lan=LanMode.SWITCHED, nat=True, servers=False, wan=wan
    )


def test_routed_links_may_be_tagged_or_headerless(tmp_path):
    assert parse(tmp_path, "vlan: 7").vlan == 7
    assert parse(tmp_path, "l3: true").l3


def test_null_is_the_default(tmp_path):
    assert parse(tmp_path, "wan:\nclients:\n") == Topology(name="home")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "the document: must be a mapping"),
        ("clients: 0", r"clients: 0 is not within 1\.\.16"),
        ("clients: true", "clients: must be a whole number"),
        ("clients: two", "clients: must be a whole number"),
        ("nat: 1", "nat: must be true or false"),
        ("lan: ring", "lan: 'ring' is none of routed, bridged, switched"),
        ("lans: routed", "lans: unknown; known are name, clients"),
        ("vlan: 4095", r"vlan: 4095 is not within 1\.\.4094"),
        ("{vlan: 4, lan: bridged}", "lan: bridged goes with neither l3 nor vlan"),
        ("{vlan: 4, l3: true}", "a link without an Ethernet header carries no tag"),
        ("name: a/b", "name: 'a/b' is not"),
        ("wan: fast", "wan: must be a mapping"),
        ("wan: {delay-ms: -1}", r"wan\.delay-ms: -1 is not within"),
        ("wan: {delay-ms: 1, jitter-ms: 2}", r"wan\.jitter-ms: 2 is not within 0\.\.delay-ms"),
        ("wan: {loss: 1.5}", r"wan\.loss: 1\.5 is not within"),
        ("wan: {rate-mbit: 0}", r"wan\.rate-mbit: 0 is not above 0"),
        ("wan: {queue-kb: 1}", r"wan\.queue-kb: 1 is not within"),
        ("wan: {down: {loss: 3}}", r"wan\.down\.loss: 3 is not within"),
        ("wan: {down: {down: {}}}", r"wan\.down\.down: a direction has no direction of its own"),
        ("{", "not YAML"),
    ],
)
def test_mistakes(tmp_path, text, message):
    with pytest.raises(RigError, match=message):
        parse(tmp_path, text)


def test_all_mistakes_at_once(tmp_path):
    with pytest.raises(RigError) as caught:
        parse(tmp_path, "clients: 99\nspeed: 1\nwan: {loss: 2}\n")
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert all(line.startswith(str(tmp_path / "home.yaml")) for line in lines)


def test_a_missing_file_is_a_sentence(tmp_path):
    with pytest.raises(RigError, match="cannot be read"):
        load_topology(tmp_path / "none.yaml")
