"""The rig itself: every topology carries traffic, faults do what they say, nothing stays behind."""

from __future__ import annotations

import hashlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mihomo_tproxy.errors import RigError
from mihomo_tproxy.rig import Rig, WanProfile, host, serving, state, vlan

ROOT = Path(__file__).resolve().parents[1]


def fetch(node, rig, destination, count=200_000):
    """Downloads `count` bytes of the pattern and says whether they are the right ones."""
    with node.connect(destination, rig.servers.port("chargen")) as sock:
        sock.sendall(f"{count}\n".encode())
        digest = hashlib.sha256()
        while data := sock.recv(65_536):
            digest.update(data)
    return digest.hexdigest() == serving.pattern_sha256(count)


def ask_udp(node, destination, port, payload):
    family = socket.AF_INET6 if ":" in destination else socket.AF_INET
    with node.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.sendto(payload, (destination, port))
        answer, peer = sock.recvfrom(65_536)
        return answer, peer[0], peer[1], sock.getsockname()[1]


@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"bridged": True},
        {"switched": True},
        {"l3": True},
        {"vlan": 10},
        {"nat": True},
        {"wan": WanProfile(delay_ms=2)},
    ],
    ids=lambda switches: "-".join(switches) or "routed",
)
def test_every_topology_carries_both_families_for_every_client(rig_factory, switches):
    rig = rig_factory(**switches)
    for version in (4, 6):
        for client in rig.clients:
            assert fetch(client, rig, rig.internet.address(version))
            assert fetch(client, rig, rig.destination(7, version))
            seen, *_ = ask_udp(client, rig.destination(8, version), 3478, b"who")
            expected = rig.plan.nodes["gateway"].interfaces["wan0"].addresses[version == 6]
            expected = expected.split("/")[0] if switches.get("nat") else client.address(version)
            assert seen.decode().split()[0] == expected


def test_the_lan_interfaces_are_those_of_the_gateway(rig_factory):
    for switches, expected in (
        ({}, ["lan0", "lan1"]),
        ({"bridged": True}, ["br-lan"]),
        ({"switched": True}, ["lan0"]),
        ({"vlan": 20}, ["lan0.20", "lan1.20"]),
    ):
        rig = rig_factory(**switches)
        assert rig.lan_interfaces == expected
        for interface in expected:
            rig.gateway.ip(f"link show {interface}")


def test_a_headerless_lan_has_no_ethernet(rig_factory):
    rig = rig_factory(l3=True, clients=1)
    assert "link/none" in rig.gateway.run("ip link show lan0").stdout


def test_vlan_frames_are_tagged_on_the_parent(rig_factory):
    rig = rig_factory(vlan=33, clients=1)
    with rig.gateway.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sniffer:
        sniffer.setsockopt(263, 8, 1)
        sniffer.bind(("lan0", 3))
        sniffer.settimeout(5)
        rig.clients[0].run(["ping", "-c1", "-W5", rig.gateway.address(4)])
        frame = b""
        while frame[12:14] != b"\x08\x00":
            frame, control, _, _ = sniffer.recvmsg(2048, 64)
    assert vlan.tag_of(control[0][2]) == 33


def test_two_rigs_do_not_see_each_other(rig_factory):
    one, other = rig_factory(clients=1), rig_factory(clients=1)
    one.servers.process.kill()
    assert fetch(other.clients[0], other, other.destination(1))
    with pytest.raises(ConnectionRefusedError):
        one.clients[0].connect(one.destination(1), 19)


class TestServers:
    """Each built-in server does what its table says."""

    def talk(self, module_rig, service, data=b"", *, finish=True):
        port = module_rig.servers.port(service)
        with module_rig.clients[0].connect(module_rig.destination(1), port) as sock:
            sock.sendall(data)
            if finish:
                sock.shutdown(socket.SHUT_WR)
            answer = b""
            while chunk := sock.recv(65_536):
                answer += chunk
            return answer

    def test_echo_banner_farewell_discard(self, module_rig):
        assert self.talk(module_rig, "echo", b"abc") == b"abc"
        assert self.talk(module_rig, "banner", b"abc") == serving.BANNER + b"abc"
        assert self.talk(module_rig, "farewell", b"abc", finish=False) == serving.FAREWELL
        assert self.talk(module_rig, "discard", b"abc") == b""

    def test_sink_names_what_came(self, module_rig):
        data = serving.pattern(300_000)
        expected = f"300000 {hashlib.sha256(data).hexdigest()}\n".encode()
        assert self.talk(module_rig, "sink", data) == expected

    @pytest.mark.parametrize(("service", "data"), [("reset", b""), ("reset-later", b"x")])
    def test_resets(self, module_rig, service, data):
        port = module_rig.servers.port(service)
        with pytest.raises(ConnectionResetError):
            self.provoke(module_rig.clients[0], module_rig.destination(1), port, data)

    def provoke(self, client, destination, port, data):
        with client.connect(destination, port) as sock:
            sock.sendall(data)
            sock.recv(1)

    def test_stall_takes_no_more_than_its_buffers(self, module_rig):
        with module_rig.clients[0].connect(module_rig.destination(1), 2001) as sock:
            sock.setblocking(False)
            while select.select((), (sock,), (), 0.5)[1]:
                sock.send(bytes(65_536))
            assert not select.select((), (sock,), (), 0.2)[1]

    def test_http(self, module_rig):
        client, url = module_rig.clients[0], module_rig.servers.url
        size = client.run(["curl", "-sS", "-w", "%{size_download}", "-o/dev/null", url("/bytes/5")])
        assert size.stdout == "5"
        assert client.run(["curl", "-sS", "-d", "ping", url("/echo")]).stdout == "ping"
        status = client.run(["curl", "-s", "-w", "%{http_code}", url("/no")]).stdout
        assert status.endswith("404")
        six = url("/peer", address=module_rig.destination(2, 6))
        assert client.run(["curl", "-sSg", six]).stdout.split()[0] == client.address(6)

    @pytest.mark.parametrize("version", [4, 6])
    def test_udp_answers_come_from_where_the_question_went(self, module_rig, version):
        client, destination = module_rig.clients[0], module_rig.destination(77, version)
        payload = serving.pattern(22_528)
        answer, source, port, _ = ask_udp(client, destination, 7, payload)
        assert (answer, source, port) == (payload, destination, 7)

    @pytest.mark.parametrize("version", [4, 6])
    def test_stun_answers_from_elsewhere_when_asked(self, module_rig, version):
        client, other = module_rig.clients[0], module_rig.destination(99, version)
        question = f"from {other} 4444".encode()
        answer, source, port, mine = ask_udp(
            client, module_rig.destination(98, version), 3478, question
        )
        assert (source, port) == (other, 4444)
        assert answer == f"{client.address(version)} {mine}".encode()


class TestNode:
    """Programs, functions and sockets in a namespace."""

    def test_run_keeps_output_and_names_failures(self, module_rig):
        client = module_rig.clients[0]
        assert client.run("echo 'a b'").stdout == "a b\n"
        assert client.run(["false"], check=False).returncode == 1
        with pytest.raises(RigError, match="exit code 3: sorry"):
            client.run(["sh", "-c", "echo sorry >&2; exit 3"])
        with pytest.raises(RigError, match=r"has not ended in 0\.1 s"):
            client.run("sleep 5", timeout=0.1)

    def test_bpffs_is_visible_inside(self, module_rig):
        kinds = module_rig.gateway.run("stat -f -c %T /sys/fs/bpf").stdout
        assert kinds.strip() == "bpf_fs"

    def test_start_waits_and_stops(self, module_rig):
        client = module_rig.clients[0]
        process = client.start(["sh", "-c", "echo up; exec sleep 60"])
        assert process.wait_for_line("^u(p)$")[1] == "p"
        assert process.stop() == -signal.SIGTERM
        assert not process.running
        with pytest.raises(RigError, match=r"ended \(0\) and has not printed 'never'"):
            client.start("true").wait_for_line("never")

    def test_call_runs_inside_and_brings_back_errors(self, module_rig):
        def interfaces():
            return {name for _, name in socket.if_nameindex()}

        assert "wan0" in module_rig.gateway.call(interfaces)
        assert "wan0" not in interfaces()
        with pytest.raises(ZeroDivisionError):
            module_rig.gateway.call(lambda: 1 // 0)

    def test_sysctl(self, rig_factory):
        gateway = rig_factory(clients=1).gateway
        assert gateway.sysctl("net.ipv4.ip_forward") == "1"
        assert gateway.sysctl("net.ipv4.conf.lan0.rp_filter", 1) == "1"
        assert gateway.sysctl("net.ipv4.conf.wan0.rp_filter") == "0"


def reaches(node, destination):
    """Whether one of two pings is answered; the first may meet a neighbour still unknown."""
    done = node.run(["ping", "-c2", "-i0.2", "-W1", destination], check=False)
    return " 0 received" not in done.stdout and done.returncode in (0, 1)


@pytest.mark.parametrize("version", [4, 6])
def test_faults(rig, version):
    client, target = rig.clients[0], rig.destination(1, version)
    other = rig.destination(2, version)
    rig.internet.blackhole(target)
    assert not reaches(client, target)
    assert reaches(client, other)
    rig.internet.end_blackholes()
    assert reaches(client, target)
    for node, interface in ((rig.gateway, "lan0"), (rig.gateway, "wan0"), (client, "eth0")):
        node.link_down(interface)
        assert not reaches(client, target)
        node.link_up(interface)
        assert reaches(client, target)


@pytest.mark.parametrize("switches", [{}, {"bridged": True}, {"switched": True}], ids=str)
def test_a_deleted_interface_comes_back(rig_factory, switches):
    rig = rig_factory(**switches)
    rig.clients[1].ip("link del eth0")
    assert not reaches(rig.clients[1], rig.destination(1))
    rig.replug(1)
    assert reaches(rig.clients[1], rig.destination(1))
    assert reaches(rig.clients[1], rig.destination(1, 6))


def test_an_address_changes(rig):
    rig.gateway.add_address("lan0", "192.168.99.1/24")
    rig.gateway.delete_address("lan0", "192.168.77.1/24")
    assert not reaches(rig.clients[0], rig.destination(1))
    rig.clients[0].ip("addr add 192.168.99.5/24 dev eth0")
    assert reaches(rig.clients[0], "192.168.99.1")


class TestWan:
    """The line keeps packets as long as it says, and changes while it runs."""

    def test_delay_is_a_lower_bound(self, rig_factory):
        rig = rig_factory(clients=1, wan=WanProfile(delay_ms=15, down=WanProfile(delay_ms=5)))
        out = rig.clients[0].run(["ping", "-c3", "-i0.1", rig.destination(1)]).stdout
        times = [float(x.split()[0]) for x in out.split("time=")[1:]]
        assert len(times) == 3
        assert min(times) >= 20.0

    def test_loss_changes_while_it_runs(self, rig_factory):
        rig = rig_factory(clients=1, wan=WanProfile())
        assert reaches(rig.clients[0], rig.destination(1))
        rig.set_wan(WanProfile(loss=1.0))
        assert not reaches(rig.clients[0], rig.destination(1))
        rig.set_wan(WanProfile())
        assert reaches(rig.clients[0], rig.destination(1, 6))

    def test_rate_is_an_upper_bound(self, rig_factory):
        rig = rig_factory(clients=1, wan=WanProfile(rate_mbit=20))
        start = time.monotonic()
        assert fetch(rig.clients[0], rig, rig.destination(1), 1_000_000)
        assert time.monotonic() - start >= 1_000_000 * 8 / 20e6 * 0.9

    def test_a_plain_link_has_no_profile(self, rig):
        with pytest.raises(RigError, match="plain link"):
            rig.set_wan(WanProfile(delay_ms=1))


HOLDER = """
import sys
from mihomo_tproxy.rig import Rig, WanProfile
rig = Rig.standard(wan=WanProfile(delay_ms=1), vlan=5)
rig.up()
rig.servers
stubborn = "trap '' TERM; sleep 300 & sleep 300 & echo on; wait"
rig.clients[0].start(["sh", "-c", stubborn]).wait_for_line("on")
(rig.pin_directory / "below").mkdir()
print(rig.state.prefix, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_stays_when_the_holder_dies(number):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with holder:
        prefix = holder.stdout.readline().decode().strip()
        found = state.load(state.STATE_DIR / f"{prefix}.json")
        assert len(state.leftovers(prefix)) > len(found.namespaces)
        programs = state.processes_in(found.namespaces.values())
        assert len(programs) >= 8
        starts = {pid: state.process_start(pid) for pid in programs}
        holder.send_signal(number)
        holder.wait(10)
    deadline = time.monotonic() + 15
    while found.path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not found.path.exists()
    assert not found.directory.exists()
    assert state.leftovers(prefix) == []
    assert [pid for pid in programs if state.process_start(pid) == starts[pid]] == []


def test_orphans_are_found_without_their_guardian(rig_factory):
    rig_factory(clients=1)
    rig = Rig.standard(clients=1)
    rig.up()
    try:
        orphan = rig.state
        rig._guardian.kill()
        rig._guardian.wait()
        orphan.owner_start += 1
        orphan.save()
        assert orphan.orphaned
        assert state.clean_orphans()[orphan.name] == []
        assert state.leftovers(orphan.prefix) == []
    finally:
        rig.down()


def test_a_program_that_ignores_sigterm_is_gone(rig_factory):
    rig = rig_factory(clients=1)
    process = rig.clients[0].start(["sh", "-c", "trap '' TERM; echo on; while :; do sleep 1; done"])
    process.wait_for_line("on")
    assert rig.down() == []
    assert process.returncode == -signal.SIGKILL


def test_output_outlives_the_rig_where_asked(rig_factory, tmp_path):
    rig = rig_factory(clients=1, log_directory=tmp_path / "logs")
    process = rig.clients[0].start("echo kept")
    process.wait()
    assert rig.down() == []
    assert process.output == "kept\n"


def test_pins_outside_bpffs_are_refused(rig_factory, tmp_path):
    rig = rig_factory(clients=1)
    rig.register_pin(tmp_path)
    assert any("not below a bpffs mount" in problem for problem in rig.down())
    assert tmp_path.exists()


class TestCommand:
    """`mihomo-tproxy rig` from a file."""

    def rig(self, *arguments):
        script = (
            "import argparse, sys\n"
            "from mihomo_tproxy.cli import rig\n"
            "from mihomo_tproxy.errors import GatewayError\n"
            "parser = argparse.ArgumentParser()\n"
            "rig.add_parser(parser.add_subparsers())\n"
            "args = parser.parse_args()\n"
            "try:\n    sys.exit(args.handler(args))\n"
            "except GatewayError as error:\n    sys.exit(str(error))\n"
        )
        return subprocess.run(
            [sys.executable, "-c", script, "rig", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def test_up_exec_list_down(self, rig_factory, tmp_path):
        name = f"test-{os.getpid()}"
        file = tmp_path / f"{name}.yaml"
        file.write_text("clients: 1\nlan: bridged\nwan: {delay-ms: 1}\n")
        try:
            done = self.rig("up", file)
            assert done.returncode == 0, done.stderr
            assert f"rig {name} is up" in done.stdout
            prefix = state.named(name).prefix
            url = "http://198.51.100.1/peer"
            done = self.rig("exec", name, "client0", "--", "curl", "-sS", url)
            assert done.stdout.startswith("192.168.77.10 "), done.stderr
            assert self.rig("exec", file, "gateway", "--", "sh", "-c", "exit 7").returncode == 7
            assert "no node moon" in self.rig("exec", name, "moon", "--", "true").stderr
            assert name in self.rig("list").stdout
            assert "is up already" in self.rig("up", file).stderr
        finally:
            done = self.rig("down", file)
        assert done.stdout == f"rig {name} is down\n", done.stderr
        assert state.leftovers(prefix) == []
        assert f"no rig {name} is up" in self.rig("down", name).stderr

    def test_a_wrong_file_says_all_that_is_wrong(self, tmp_path):
        file = tmp_path / "bad.yaml"
        file.write_text("clients: 99\nlan: ring\nwan: {loss: 2, speed: 3}\n")
        done = self.rig("up", file)
        assert done.returncode == 1
        for part in ("clients: 99", "lan: 'ring'", "wan.loss: 2", "wan.speed: unknown"):
            assert part in done.stderr


BARE_HOST = """
import os, pathlib, subprocess
from mihomo_tproxy.rig import Rig, host
def mounts():
    return pathlib.Path("/proc/self/mounts").read_text()
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
for kind in ("bpf", "cgroup2"):
    for path in reversed(host.mounted(kind)):
        subprocess.run(["umount", "-l", path], check=True)
before = mounts()
with Rig.standard(clients=1) as rig:
    assert [len(host.mounted(kind)) for kind in ("bpf", "cgroup2")] == [1, 1]
    (rig.pin_directory / "below").mkdir()
subprocess.run(["umount", "/run/netns"], check=True)
assert mounts() == before
print("as it was")
"""


def test_missing_mounts_are_made_and_undone():
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", BARE_HOST],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout == "as it was\n", done.stderr


def test_down_twice_and_up_again(rig_factory):
    rig = rig_factory(clients=1)
    assert rig.down() == []
    assert rig.down() == []
    with pytest.raises(RigError, match="the rig is down"):
        _ = rig.gateway
    rig.up()
    assert host.netns_path(rig.gateway.netns).exists()
