"""Stop, crash, restart: what stays of the gateway, and what its flows notice."""

from __future__ import annotations

import json
import os
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.gateway import Gateway, children_of, command, environment, is_alive, wait_until
from support.tcp import CHARGEN, ECHO, Download, breaks, connects, says, times_out
from support.udp import VERSIONS, echoes, is_silent, open_socket

DIRECT = {"rules": ["MATCH,DIRECT"]}
REJECT = {"rules": ["MATCH,REJECT"]}
RELAYED = {**DIRECT, "gateway": {"verdict-cache": False}}
TRANSFER = 150_000_000
PACE_S = 0.02

by_version = pytest.mark.parametrize("version", VERSIONS)


def filters(rig):
    """Names of the BPF filters on the LAN interfaces, ingress and egress."""
    names = []
    for interface in rig.lan_interfaces:
        for hook in ("ingress", "egress"):
            shown = rig.gateway.run(["tc", "-j", "filter", "show", "dev", interface, hook]).stdout
            names += [
                each["options"]["bpf_name"] for each in json.loads(shown) if "options" in each
            ]
    return names


def our_rules(rig):
    """The policy rules of the gateway, both families."""
    shown = [
        rig.gateway.run(["ip", family, "rule", "show"]).stdout.splitlines()
        for family in ("-4", "-6")
    ]
    return sorted(line for lines in shown for line in lines if "fwmark" in line)


def test_sigterm_leaves_nothing(rig):
    assert rig.servers.process.running
    gateway = Gateway(rig, RELAYED)
    gateway.start()
    during = gateway.traces()
    assert during != gateway.before
    assert len(filters(rig)) == 2 * len(rig.lan_interfaces)
    assert len(our_rules(rig)) == 2 * len(rig.lan_interfaces)
    for version in VERSIONS:
        assert connects(rig.clients[0], rig.destination(1, version))
    workers = gateway.workers()
    with rig.clients[0].connect(rig.destination(1), ECHO) as flow:
        assert says(flow)
        assert gateway.stop() == 0
        assert breaks(flow)
    assert gateway.traces() == gateway.before
    assert filters(rig) == []
    assert not any(is_alive(pid) for pid in workers)
    for version in VERSIONS:
        assert connects(rig.clients[0], rig.destination(1, version))


def begin(gateway):
    """Starts it and returns while it is loading its programs."""
    gateway.process = gateway.node.start(command("run", "-f", str(gateway.file)), env=environment())
    wait_until(lambda: loads(gateway.process.pid), "start of the loader")


def loads(pid):
    """Whether a descendant of the process is the BPF loader."""
    return any("loader.py" in command_line(each) for each in descendants(pid))


def command_line(pid):
    """What a process was started with; "" when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")
    except OSError:
        return ""


def descendants(pid):
    """Children, their children, and so on."""
    try:
        found = children_of(pid)
    except OSError:
        return []
    return found + [each for child in found for each in descendants(child)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])
def test_a_signal_while_starting_leaves_nothing(rig_factory, number):
    gateway = Gateway(rig_factory(clients=1), DIRECT)
    before = gateway.traces()
    begin(gateway)
    gateway.process.send_signal(number)
    assert gateway.process.wait(20) == 0
    assert gateway.traces() == before


def test_killed_while_starting(rig_factory):
    """Nothing of the dead start goes on behind the back of the next."""
    gateway = Gateway(rig_factory(clients=1), DIRECT)
    before = gateway.traces()
    begin(gateway)
    children = descendants(gateway.process.pid)
    assert len(children) == 2
    gateway.process.kill()
    wait_until(lambda: not any(is_alive(pid) for pid in children), "end of its children", 1)
    gateway.start()
    gateway.stop()
    assert gateway.traces() == before


def test_sigkill_and_restart_lose_no_byte_of_kernel_flows(rig):
    assert rig.servers.process.running
    client = rig.clients[0]
    with Gateway(rig, DIRECT) as gateway, ExitStack() as flows:
        downloads = [
            flows.enter_context(Download(client, rig.destination(1, version), TRANSFER, PACE_S))
            for version in VERSIONS
        ]
        idle = [
            flows.enter_context(client.connect(rig.destination(1, version), ECHO))
            for version in VERSIONS
        ]
        assert all(says(sock) for sock in idle)
        gateway.kill()
        at_kill = [download.received for download in downloads]
        assert all(says(sock) for sock in idle)
        gateway.start()
        for received, download in zip(at_kill, downloads, strict=True):
            assert 0 < received < download.received < TRANSFER
        before = gateway.routes()
        assert all(download.finish() for download in downloads)
        assert all(says(sock) for sock in idle)
        passed = gateway.since(before)
        assert passed.kernel.packets > 0
        assert passed.relay.packets == 0
        assert len(filters(rig)) == 2 * len(rig.lan_interfaces)
        assert len(our_rules(rig)) == 2 * len(rig.lan_interfaces)
        assert connects(client, rig.destination(2))


def test_open_forwards_while_the_gateway_is_down(rig):
    assert rig.servers.process.running
    client = rig.clients[0]
    gateway = Gateway(rig, REJECT)
    gateway.start()
    for version in VERSIONS:
        assert not connects(client, rig.destination(1, version))
    gateway.kill()
    for version in VERSIONS:
        assert connects(client, rig.destination(1, version))
        with open_socket(client, version) as sock:
            assert echoes(sock, rig.destination(1, version))
    assert gateway.routes().open.flows == 4
    assert gateway.run("cleanup").stdout.count("removed") >= 4
    assert gateway.traces() == gateway.before
    assert gateway.run("cleanup").stdout == "nothing to remove\n"


def test_closed_stops_what_the_relay_would_carry(rig):
    assert rig.servers.process.running
    client = rig.clients[0]
    rules = [f"DST-PORT,{CHARGEN},DIRECT", "IP-CIDR,198.51.100.9/32,DIRECT", "MATCH,REJECT"]
    static = ["IP-CIDR,198.51.100.9/32,DIRECT", "IP-CIDR6,2001:db8:51::9/128,DIRECT"]
    gateway = Gateway(rig, {"rules": static + rules, "gateway": {"on-failure": "closed"}})
    gateway.start()
    kept = {version: client.connect(rig.destination(9, version), ECHO) for version in VERSIONS}
    gateway.kill()
    for version in VERSIONS:
        assert connects(client, rig.destination(9, version))
        assert says(kept[version])
        kept[version].close()
        assert times_out(client, rig.destination(1, version))
        with open_socket(client, version) as sock:
            sock.sendto(b"ping", (rig.destination(1, version), ECHO))
            assert is_silent(sock)
        assert connects_to_gateway(rig, version)
    assert gateway.routes().closed.packets >= 4
    gateway.run("cleanup")
    assert gateway.traces() == gateway.before
    assert connects(client, rig.destination(1))


def connects_to_gateway(rig, version):
    """Whether a client reaches a UDP service of the gateway itself."""
    address = rig.gateway.address(version)
    with (
        open_socket(rig.gateway, version, local=address, port=6060) as service,
        open_socket(rig.clients[0], version) as sock,
    ):
        sock.sendto(b"hello", (address, 6060))
        return service.recv(100) == b"hello"


@pytest.mark.parametrize("count", [1, 2])
def test_a_worker_that_dies_comes_back(rig, count):
    assert rig.servers.process.running
    client = rig.clients[0]
    config = {**RELAYED, "gateway": {"verdict-cache": False, "workers": count}}
    with Gateway(rig, config) as gateway:
        flow = client.connect(rig.destination(1), ECHO)
        assert says(flow)
        old = gateway.workers()
        assert len(old) == count
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        wait_until(
            lambda: gateway.output.count("is back") == count or not gateway.process.running,
            "workers to come back",
            20,
        )
        new = gateway.workers()
        assert len(new) == count
        assert not set(old) & set(new)
        with flow:
            assert breaks(flow)
        for version in VERSIONS:
            before = gateway.routes()
            assert connects(client, rig.destination(1, version))
            with open_socket(client, version) as sock:
                assert echoes(sock, rig.destination(1, version))
            passed = gateway.since(before)
            assert passed.relay.flows == 2
            assert passed.open.packets == passed.kernel.packets == 0
        gateway.reload(REJECT | {"gateway": {"workers": count}})
        assert not connects(client, rig.destination(1))


def test_a_worker_that_dies_again_and_again_ends_the_gateway(rig):
    """It says so, cleans up, and the LAN goes on without it."""
    assert rig.servers.process.running
    gateway = Gateway(rig, RELAYED)
    gateway.start()

    def ended():
        if gateway.process.running:
            for pid in filter(relays, gateway.workers()):
                os.kill(pid, signal.SIGKILL)
        return not gateway.process.running

    wait_until(ended, "end of the gateway", 20)
    assert gateway.process.returncode == 4
    assert "dies again and again" in gateway.output
    assert "Traceback" not in gateway.output
    assert gateway.traces() == gateway.before
    assert connects(rig.clients[0], rig.destination(1))


def relays(pid):
    """Whether a child of the gateway is a worker, by the maps it holds open."""
    try:
        files = [os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return False
    return "anon_inode:bpf-map" in files


def test_kernel_flows_outlive_a_worker_and_an_orderly_restart(rig):
    assert rig.servers.process.running
    client, address = rig.clients[0], rig.destination(1)
    with Gateway(rig, DIRECT) as gateway, Download(client, address, TRANSFER, PACE_S) as download:
        (worker,) = gateway.workers()
        os.kill(worker, signal.SIGKILL)
        gateway.process.wait_for_line("is back", 20)
        gateway.stop()
        gateway.start()
        assert download.received < TRANSFER
        assert download.finish()


def test_cleanup_and_a_second_instance_are_refused_while_it_runs(rig):
    assert rig.servers.process.running
    with Gateway(rig, DIRECT) as gateway:
        during = gateway.traces()
        for arguments in (("cleanup",), ("run", "-f", str(gateway.file))):
            refused = gateway.run(*arguments, check=False)
            assert refused.returncode == 3
            assert f"(pid {gateway.process.pid})" in refused.stderr
            assert refused.stderr.count("\n") == 1
        assert gateway.traces() == during
        assert connects(rig.clients[0], rig.destination(1))


def test_two_instances_in_two_namespaces(rig_factory):
    one, other = rig_factory(clients=1), rig_factory(clients=1)
    for rig in (one, other):
        assert rig.servers.process.running
    with Gateway(one, REJECT) as rejecting:
        with Gateway(other, RELAYED) as relaying:
            assert rejecting.status()["pid"] != relaying.status()["pid"]
            for version in VERSIONS:
                assert not connects(one.clients[0], one.destination(1, version))
                assert connects(other.clients[0], other.destination(1, version))
            relaying.kill()
            relaying.run("cleanup")
            assert not connects(one.clients[0], one.destination(1))
            relaying.start()
        assert not connects(one.clients[0], one.destination(1))
        assert rejecting.status()["running"]


def test_status_tells_what_a_dead_gateway_counted(rig):
    assert rig.servers.process.running
    gateway = Gateway(rig, RELAYED)
    gateway.start()
    assert connects(rig.clients[0], rig.destination(1))
    gateway.kill()
    report = gateway.status()
    assert not report["running"]
    assert report["routes"]["relay"]["flows"] == 1
    gateway.run("cleanup")
    refused = gateway.run("status", check=False)
    assert refused.returncode == 3
    assert "no gateway runs" in refused.stderr
