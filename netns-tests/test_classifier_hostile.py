"""Frames that are cut short, or random: they pass or drop, and are counted once."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from support.packets import (
    CLIENT_MAC,
    DSTOPTS,
    ETH_IP,
    ETH_IPV6,
    ETH_QINQ,
    ETH_VLAN,
    FRAGMENT,
    GATEWAY_MAC,
    HOPOPTS,
    MORE,
    ROUTING,
    TCP,
    UDP,
    extension,
    fragment6,
    frame4,
    frame6,
    tag,
    tcp,
    udp,
)
from support.steering import DROPPED, PASS, SHOT, Steering, steering

from mihomo_tproxy.dataplane import abi, bpf
from mihomo_tproxy.dataplane.abi import Route
from mihomo_tproxy.model.enums import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

C4, S4 = "10.9.0.2", "203.0.113.5"
C6, S6 = "fd09::2", "2001:db8:5::5"
CHAIN = extension(DSTOPTS, 1) + extension(ROUTING) + extension(FRAGMENT)
MIN_FRAME = 15
"""A test run takes no frame without a byte behind the link-layer header ..."""
MIN_HEADER = {b"\x08\x00": 14 + 20, b"\x86\xdd": 14 + 40}
"""... nor, by EtherType, one that ends within the IP header; behind a VLAN tag it does not look."""

# Name -> a frame that is steered as a whole, and the bytes it takes to see that it is.
WHOLE = {
    "v4-tcp": (frame4(C4, S4, TCP, tcp()), 14 + 20 + 16),
    "v4-tcp-options": (frame4(C4, S4, TCP, tcp(), options=b"\1" * 24), 14 + 44 + 16),
    "v4-udp": (frame4(C4, S4, UDP, udp(data=b"")), 14 + 20 + 8),
    "v4-udp-first": (frame4(C4, S4, UDP, udp(data=b""), fragment=MORE), 14 + 20 + 8),
    "v6-tcp": (frame6(C6, S6, TCP, tcp()), 14 + 40 + 16),
    "v6-udp": (frame6(C6, S6, UDP, udp(data=b"")), 14 + 40 + 8),
    "v6-chain-tcp": (
        frame6(C6, S6, HOPOPTS, CHAIN + fragment6(TCP, 3, more=True) + tcp()),
        14 + 40 + 16 + 8 + 8 + 8 + 16,
    ),
}


@pytest.fixture(scope="module")
def loaded() -> Iterator[Steering]:
    with steering() as programs:
        yield programs


@pytest.fixture
def steer(loaded: Steering) -> Steering:
    loaded.reset()
    return loaded


def shortest(frame: bytes | bytearray) -> int:
    return MIN_HEADER.get(bytes(frame[12:14]), MIN_FRAME)


CUT = WHOLE | {
    f"vlan-0-{name}": (frame[:12] + tag(0) + frame[12:], needed + 4)
    for name, (frame, needed) in WHOLE.items()
}


@pytest.mark.parametrize(("frame", "needed"), CUT.values(), ids=CUT)
def test_truncation_at_every_length(steer: Steering, frame: bytes, needed: int) -> None:
    for length in range(shortest(frame), len(frame) + 1):
        outcome = steer.run(frame[:length])
        assert outcome.route is (Route.RELAY if length >= needed else Route.MALFORMED)
        assert outcome.action == PASS
        assert steer.run_down(frame[:length]).action == PASS


def random_frames(rng: random.Random, number: int) -> Iterator[bytes]:
    """Noise, noise behind an honest Ethernet header, honest frames with a few bytes changed."""
    kinds = [kind.to_bytes(2, "big") for kind in (ETH_IP, ETH_IPV6, ETH_VLAN, ETH_QINQ)]
    honest = [frame for frame, _ in CUT.values()]
    for _ in range(number):
        noise = rng.randbytes(rng.randint(54, 200))
        style = rng.randrange(4)
        if style == 0:
            yield noise
        elif style == 1:
            yield GATEWAY_MAC + CLIENT_MAC + rng.choice(kinds) + noise
        else:
            frame = bytearray(rng.choice(honest))
            for _ in range(rng.randint(1, 6)):
                frame[rng.randrange(14, len(frame))] = rng.getrandbits(8)
            yield bytes(frame[: rng.randint(shortest(frame), len(frame))] if style == 2 else frame)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("program", ["ingress", "egress"])
def test_random_frames_pass_or_drop_and_count(steer: Steering, program: str, seed: int) -> None:
    steer.decide("0.0.0.0/1", Verdict.DIRECT)
    steer.decide("128.0.0.0/2", Verdict.DROP)
    steer.flags(add=abi.FLAG_PRIVATE | abi.FLAG_MACS | abi.FLAG_CLIENTS)
    fd = steer.ingress if program == "ingress" else steer.egress
    before = steer.totals()
    number, dropped, length = 3000, 0, 0
    for frame in random_frames(random.Random(seed), number):
        result = bpf.run_program(fd, frame)
        assert result.action in (PASS, SHOT)
        dropped += result.action == SHOT
        length += len(frame)
    counted = [
        (now.packets - then.packets, now.bytes - then.bytes)
        for now, then in zip(steer.totals(), before, strict=True)
    ]
    assert sum(packets for packets, _ in counted) == number
    assert sum(size for _, size in counted) == length
    assert sum(counted[route][0] for route in DROPPED) == dropped
    if program == "ingress":
        hit = (Route.KERNEL, Route.RELAY, Route.DROP, Route.BYPASS, Route.OTHER, Route.MALFORMED)
        assert all(counted[route][0] for route in hit)
