"""Who owns a socket: this process's own sockets, and a process table that is made up."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from mihomo_tproxy.model.enums import Network
from mihomo_tproxy.net.owner import KEPT_S, MAX_CACHED, MAX_LINKS, OwnerFinder

if TYPE_CHECKING:
    from pathlib import Path

EXE = os.readlink("/proc/self/exe")
LOOPBACK = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]


@pytest.fixture
def finder():
    found = OwnerFinder(paths=True)
    yield found
    found.close()


@pytest.mark.parametrize(("family", "host"), LOOPBACK)
def test_tcp(finder, family, host):
    with socket.socket(family) as listener:
        listener.bind((host, 0))
        listener.listen()
        port = listener.getsockname()[1]
        with socket.create_connection((host, port)) as client:
            flow = (host, client.getsockname()[1], host, port)
            assert finder.find_owner(Network.TCP, *flow) == (os.getuid(), EXE)
            assert finder.find_owner(Network.UDP, *flow) is None


@pytest.mark.parametrize(("family", "host"), LOOPBACK)
@pytest.mark.parametrize("connected", [True, False])
def test_udp(finder, family, host, connected):
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        if connected:
            client.connect((host, 9))
        else:
            client.bind(("", 0))
        flow = (host, client.getsockname()[1], host, 9)
        assert finder.find_owner(Network.UDP, *flow) == (os.getuid(), EXE)


def test_a_listener_is_no_flow_of_another_port(finder):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert finder.find_owner(Network.TCP, "127.0.0.1", 1, "127.0.0.1", port) is None


def test_another_hosts_flow(finder):
    assert finder.find_owner(Network.TCP, "192.0.2.1", 4000, "192.0.2.2", 443) is None


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_another_hosts_flow_from_the_port_of_a_server_here(finder, family):
    with socket.socket(family) as tcp, socket.socket(family, socket.SOCK_DGRAM) as udp:
        for sock in (tcp, udp):
            sock.bind(("", 0))
        tcp.listen()
        for network, sock in ((Network.TCP, tcp), (Network.UDP, udp)):
            port = sock.getsockname()[1]
            assert finder.find_owner(network, "192.0.2.1", port, "192.0.2.2", 443) is None


class Finder(OwnerFinder):
    """Has an answer for every question, and counts them."""

    def __init__(self, **options):
        super().__init__(paths=True, **options)
        self.asked = 0

    def _ask(self, *flow):
        self.asked += 1
        return self.asked


def test_answers_are_kept_for_a_moment():
    now = [0.0]
    finder = Finder(clock=lambda: now[0])
    flow = (Network.UDP, "127.0.0.1", 5000, "192.0.2.1", 53)
    assert finder.find_owner(*flow) == 1
    assert finder.find_owner(*flow[:3], "192.0.2.2", 53) == 1
    now[0] = KEPT_S
    assert finder.find_owner(*flow) == 2
    finder.close()


def test_few_answers_are_kept():
    finder = Finder()
    for port in range(MAX_CACHED + 1):
        finder.find_owner(Network.UDP, "127.0.0.1", port, "192.0.2.1", 53)
    finder.find_owner(Network.UDP, "127.0.0.1", 0, "192.0.2.1", 53)
    assert finder.asked == MAX_CACHED + 2
    finder.close()


def table(root: Path, processes: dict[int, list[str]]) -> str:
    for pid, links in processes.items():
        folder = root / str(pid)
        (folder / "fd").mkdir(parents=True)
        (folder / "exe").symlink_to(f"/bin/prog{pid} (deleted)")
        for number, link in enumerate(links):
            (folder / "fd" / str(number)).symlink_to(link)
    (root / "version").touch()
    return str(root)


def test_the_process_is_found_by_the_inode(tmp_path):
    proc = table(tmp_path, {1: ["socket:[7]"], 20: ["/dev/null", "socket:[8]"], 3: []})
    finder = OwnerFinder(paths=True, proc=proc)
    uid = os.getuid()
    assert finder._path(uid, 8) == "/bin/prog20"
    assert finder._path(uid, 7) == "/bin/prog1"
    assert finder._path(uid, 9) == ""
    assert finder._path(uid + 1, 8) == "/bin/prog20"  # known from before
    finder.close()


def test_other_users_processes_are_not_searched(tmp_path):
    finder = OwnerFinder(paths=True, proc=table(tmp_path, {1: ["socket:[7]"]}))
    assert finder._path(os.getuid() + 1, 7) == ""
    finder.close()


def test_the_search_is_bounded(tmp_path, monkeypatch):
    finder = OwnerFinder(paths=True, proc=table(tmp_path, {1: ["socket:[7]"], 2: []}))
    read = []
    monkeypatch.setattr(
        finder,
        "_descriptors",
        lambda pid: iter(["socket:[7]"] if pid == "1" else read.append(pid) or ["x"] * MAX_LINKS),
    )
    assert finder._path(os.getuid(), 7) == ""
    assert read == ["2"]
    finder.close()


def test_no_process_table(tmp_path):
    finder = OwnerFinder(paths=True, proc=str(tmp_path / "none"))
    assert finder._path(os.getuid(), 7) == ""
    finder.close()


def test_paths_only_if_wanted():
    finder = OwnerFinder(paths=False)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("127.0.0.1", 0))
        flow = ("127.0.0.1", client.getsockname()[1], "127.0.0.1", 9)
        assert finder.find_owner(Network.UDP, *flow) == (os.getuid(), "")
    finder.close()
