"""sk_lookup: whom a new flow from a LAN interface meets, with the loopback device as the LAN."""

from __future__ import annotations

import socket
from struct import pack
from typing import TYPE_CHECKING

import pytest
from support.sockets import PATIENCE_S
from support.steering import LOOPBACK, Steering, steering

if TYPE_CHECKING:
    from collections.abc import Iterator

FOREIGN = ["203.0.113.5", "2001:db8:5::5"]
NOT_STEERED = ["10.1.2.3", "127.0.0.9", "fd09::1"]


@pytest.fixture(scope="module")
def loaded() -> Iterator[Steering]:
    with steering() as programs:
        yield programs


@pytest.fixture
def steer(loaded: Steering) -> Iterator[Steering]:
    loaded.reset()
    link = loaded.attach_lookup()
    yield loaded
    loaded.detach(link)


def accepts(steer: Steering, server: str) -> bool:
    """Whether a connection to this address ends at the relay's listener."""
    with socket.create_connection((server, 443), timeout=PATIENCE_S) as client:
        listener = steer.listeners[2 if ":" in server else 0]
        listener.settimeout(PATIENCE_S)
        with listener.accept()[0] as accepted:
            return accepted.getsockname()[:2] == (server, 443) and (
                accepted.getpeername() == client.getsockname()
            )


def refuses(server: str) -> bool:
    try:
        socket.create_connection((server, 443), timeout=PATIENCE_S).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("server", FOREIGN)
def test_a_connection_to_a_foreign_address_meets_the_listener(steer: Steering, server: str) -> None:
    assert accepts(steer, server)


@pytest.mark.parametrize("server", FOREIGN)
def test_a_datagram_to_a_foreign_address_meets_the_listener(steer: Steering, server: str) -> None:
    v6 = ":" in server
    receiver = steer.listeners[3 if v6 else 1]
    receiver.settimeout(PATIENCE_S)
    with socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"first", (server, 443))
        assert receiver.recv(64) == b"first"


@pytest.mark.parametrize("server", FOREIGN)
def test_own_addresses_are_the_hosts(steer: Steering, server: str) -> None:
    steer.own(server)
    assert refuses(server)


@pytest.mark.parametrize("server", NOT_STEERED)
def test_ranges_never_steered_are_the_hosts(steer: Steering, server: str) -> None:
    assert refuses(server)


@pytest.mark.parametrize("server", FOREIGN)
def test_other_interfaces_are_the_hosts(steer: Steering, server: str) -> None:
    steer.maps["lan"].delete(pack("=I", LOOPBACK))
    assert refuses(server)


@pytest.mark.parametrize("server", FOREIGN)
def test_without_a_listener_the_host_answers(steer: Steering, server: str) -> None:
    steer.silence()
    assert refuses(server)


@pytest.mark.parametrize("server", FOREIGN)
def test_a_worker_that_is_down_is_stood_in_for(steer: Steering, server: str) -> None:
    steer.configure(workers=8)
    assert all(accepts(steer, server) for _ in range(16))
