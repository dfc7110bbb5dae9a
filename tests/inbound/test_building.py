"""The listeners of a configuration: opened, shared, changed by a reload."""

from __future__ import annotations

import logging
import random
import socket

import pytest
from support.loopback import GIVE_UP_S, RelayRig, readable

from mihomo_tproxy.config import parse
from mihomo_tproxy.errors import WorkerFailed
from mihomo_tproxy.inbound.building import Listeners

GREETING = b"\x05\x01\x00"


@pytest.fixture
def port():
    """A free one below those that the kernel gives to clients: none connects to itself there."""
    while True:
        number = random.randint(20_000, 32_000)
        try:
            for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
                socket.create_server((host, number), family=family).close()
        except OSError:
            continue
        return number


class BuildingRig(RelayRig):
    """A RelayRig with the listeners of a file."""

    def __enter__(self):
        super().__enter__()
        self.listeners = Listeners(self.context, self.tunnel, index=0, shared=False)
        return self

    def __exit__(self, *exc):
        self.listeners.close()
        super().__exit__(*exc)

    def reload(self, text):
        self.listeners.reload(self.context, parse(text), ipv6=True)

    def ask(self, port, said, host="127.0.0.1"):
        """What a client gets for its first words; b"" when it is turned away."""
        with socket.create_connection((host, port), timeout=GIVE_UP_S) as client:
            client.sendall(said)
            self.turn_until(lambda: readable(client))
            try:
                return client.recv(100)
            except ConnectionResetError:
                return b""


def refused(port, host="127.0.0.1"):
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, port), timeout=GIVE_UP_S)


def test_each_type_listens_on_both_loopbacks(port):
    with BuildingRig() as rig:
        rig.listeners.start(parse(f"mixed-port: {port}"), ipv6=True)
        assert rig.ask(port, GREETING) == b"\x05\x00"
        assert rig.ask(port, GREETING, "::1") == b"\x05\x00"
        assert rig.ask(port, b"x\r\n\r\n").startswith(b"HTTP/1.1 400 ")
        refused(port, "127.0.0.2")


def test_socks_and_http_speak_one_protocol_only(port):
    with BuildingRig() as rig:
        rig.listeners.start(parse(f"port: {port}"), ipv6=False)
        assert rig.ask(port, GREETING + b"\r\n\r\n").startswith(b"HTTP/1.1 400 ")
        rig.reload(f"socks-port: {port}")
        assert rig.ask(port, b"GET / HTTP/1.1\r\n\r\n") == b""
        assert rig.ask(port, GREETING) == b"\x05\x00"


def test_without_ipv6_it_listens_on_ipv4(port):
    with BuildingRig() as rig:
        rig.listeners.start(parse(f"mixed-port: {port}"), ipv6=False)
        assert rig.ask(port, GREETING) == b"\x05\x00"
        refused(port, "::1")


def test_redir_listens(port):
    with BuildingRig() as rig:
        rig.listeners.start(parse(f"redir-port: {port}"), ipv6=False)
        assert rig.ask(port, b"x") == b""
        assert set(rig.tracker.errors) <= {"redir-no-destination", "loop"}
        assert rig.tracker.errors


def test_a_taken_port_is_said(port):
    says = f"mixed-port: .* 127.0.0.1 port {port}: Address"
    with (
        BuildingRig() as rig,
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(WorkerFailed, match=says),
    ):
        rig.listeners.start(parse(f"mixed-port: {port}"), ipv6=False)


def test_reload_changes_who_may_come(port):
    with BuildingRig() as rig:
        rig.listeners.start(parse(f"mixed-port: {port}"), ipv6=True)
        rig.reload(f"mixed-port: {port}\nauthentication: ['a:b']")
        assert rig.ask(port, GREETING) == b"\x05\xff"
        rig.reload(f"mixed-port: {port}\nallow-lan: true\nlan-disallowed-ips: [127.0.0.0/8]")
        assert rig.ask(port, GREETING) == b""
        rig.reload(f"mixed-port: {port}")
        assert rig.ask(port, GREETING) == b"\x05\x00"


def test_reload_keeps_the_queue_of_what_stays(port):
    with BuildingRig() as rig:
        rig.listeners.start(parse(f"mixed-port: {port}"), ipv6=False)
        with socket.create_connection(("127.0.0.1", port), timeout=GIVE_UP_S) as client:
            client.sendall(GREETING)
            rig.listeners.reload(
                rig.context, parse(f"mixed-port: {port}\nmode: direct"), ipv6=False
            )
            rig.turn_until(lambda: readable(client))
            assert client.recv(2) == b"\x05\x00"


def test_reload_opens_and_closes(port):
    with BuildingRig() as rig:
        rig.listeners.start(parse("{}"), ipv6=True)
        refused(port)
        rig.reload(f"mixed-port: {port}")
        assert rig.ask(port, GREETING) == b"\x05\x00"
        rig.reload(f"inbound: {{mixed: {{listen: '[::1]:{port}'}}}}")
        refused(port)
        assert rig.ask(port, GREETING, "::1") == b"\x05\x00"
        rig.reload("{}")
        refused(port, "::1")


def test_reload_goes_on_without_a_port_that_is_taken(port, caplog):
    with BuildingRig() as rig, socket.create_server(("127.0.0.1", 0)) as taken:
        rig.listeners.start(parse(f"mixed-port: {port}"), ipv6=False)
        other = taken.getsockname()[1]
        with caplog.at_level(logging.ERROR):
            rig.reload(f"mixed-port: {port}\nsocks-port: {other}")
        assert f"socks-port: cannot listen on 127.0.0.1 port {other}" in caplog.text
        assert rig.ask(port, GREETING) == b"\x05\x00"


def test_workers_share_a_port(port):
    with BuildingRig() as rig:
        config = parse(f"mixed-port: {port}")
        workers = [
            Listeners(rig.context, rig.tunnel, index=index, shared=True) for index in range(2)
        ]
        for worker in workers:
            worker.start(config, ipv6=True)
        assert rig.ask(port, GREETING) == b"\x05\x00"
        for worker in workers:
            worker.close()
        refused(port)
