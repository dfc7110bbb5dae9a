"""A rule change by SIGHUP: new flows meet it at once, old flows are left alone."""

from __future__ import annotations

import os

import pytest
from support.gateway import Gateway
from support.tcp import connects, says
from support.udp import ECHO, VERSIONS, echoes, open_socket

by_version = pytest.mark.parametrize("version", VERSIONS)
DIRECT, REJECT = {"rules": ["MATCH,DIRECT"]}, {"rules": ["MATCH,REJECT"]}
RELAYED = {**DIRECT, "gateway": {"verdict-cache": False}}


@pytest.fixture(scope="module")
def gateway(module_rig):
    """One daemon for all tests here."""
    assert module_rig.servers.process.running
    with Gateway(module_rig, DIRECT) as gateway:
        yield gateway


def refuses_udp(client, version, address):
    """Whether a new UDP flow is answered with a port unreachable."""
    with open_socket(client, version) as sock:
        sock.connect((address, ECHO))
        sock.send(b"ping")
        try:
            sock.recv(100)
        except ConnectionRefusedError:
            return True
        return False


@by_version
@pytest.mark.parametrize("old", [DIRECT, RELAYED], ids=["kernel", "relay"])
def test_new_flows_flip_and_old_ones_stay(gateway, version, old):
    rig = gateway.rig
    client, address = rig.clients[0], rig.destination(1, version)
    way, other = ("kernel", "relay") if old is DIRECT else ("relay", "kernel")
    gateway.reload(old)
    with client.connect(address, ECHO) as tcp, open_socket(client, version) as udp:
        assert says(tcp)
        assert echoes(udp, address)
        gateway.reload(REJECT)
        assert not connects(client, address)
        assert refuses_udp(client, version, address)
        before = gateway.routes()
        for _ in range(3):
            assert says(tcp)
            assert echoes(udp, address)
        passed = gateway.since(before)
        assert passed.counts[way].packets >= 6
        assert passed.counts[other].packets == 0
        gateway.reload(old)
        assert connects(client, address)
        assert not refuses_udp(client, version, address)


@by_version
def test_what_was_learnt_counts_no_more(gateway, version):
    """Verdicts of the old rules sit in the kernel's cache when the new rules come."""
    rig = gateway.rig
    client, address = rig.clients[0], rig.destination(2, version)
    gateway.reload({"rules": ["DST-PORT,7,DIRECT", "MATCH,REJECT"]})
    assert connects(client, address)
    before = gateway.routes()
    assert connects(client, address)
    assert gateway.since(before).kernel.flows == 1
    gateway.reload({"rules": ["DST-PORT,7,REJECT", "MATCH,DIRECT"]})
    assert not connects(client, address)
    gateway.reload({"rules": ["DST-PORT,7,DIRECT", "MATCH,REJECT"]})
    before = gateway.routes()
    assert connects(client, address)
    assert gateway.since(before).relay.flows == 1


@by_version
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("rules: [", "not YAML"),
        ("rules: ['MATCH,NOWHERE']", "NOWHERE"),
        ("rules: ['NONSENSE,1,DIRECT', 'DST-PORT,x,DIRECT']", "NONSENSE"),
    ],
    ids=["yaml", "target", "rules"],
)
def test_a_broken_file_changes_nothing(gateway, version, text, sentence):
    rig = gateway.rig
    client, address = rig.clients[0], rig.destination(3, version)
    gateway.reload(DIRECT)
    with client.connect(address, ECHO) as tcp:
        generation = gateway.status()["generation"]
        gateway.reload(text, fails=True)
        assert sentence in gateway.output.rpartition("reload failed")[2]
        assert "Traceback" not in gateway.output
        assert gateway.status()["generation"] == generation
        assert says(tcp)
        before = gateway.routes()
        assert connects(client, address)
        assert gateway.since(before).kernel.flows == 1


def test_what_needs_a_restart_is_named(gateway):
    gateway.reload({**DIRECT, "gateway": {"workers": 2}})
    assert "only with a restart" in gateway.output
    assert len(gateway.workers()) == 1
    assert connects(gateway.rig.clients[0], gateway.rig.destination(4))


def test_reloads_cost_no_descriptors(gateway):
    pids = (gateway.process.pid, *gateway.workers())
    open_files = []
    for _ in range(3):
        gateway.reload(DIRECT)
        gateway.reload("rules: [", fails=True)
        open_files.append([len(os.listdir(f"/proc/{pid}/fd")) for pid in pids])
    assert open_files[0] == open_files[1] == open_files[2]


def test_the_file_may_vanish(gateway):
    gateway.file.unlink()
    gateway.process.send_signal(1)
    gateway.process.wait_for_line("reload failed.*no configuration file|reload failed.*No such")
    gateway.reload(DIRECT)
    assert connects(gateway.rig.clients[0], gateway.rig.destination(4))


@by_version
def test_bypass_and_clients_change_with_a_reload(gateway, version):
    rig = gateway.rig
    one, other = rig.clients
    address = rig.destination(5, version)
    length = 128 if version == 6 else 32
    gateway.reload({**REJECT, "gateway": {"bypass": [f"{address}/{length}"]}})
    assert connects(one, address)
    gateway.reload({**REJECT, "gateway": {"clients": {"exclude": [one.address(version)]}}})
    assert connects(one, address)
    assert not connects(other, address)
    gateway.reload(REJECT)
    assert not connects(one, address)
