"""The verdict cache: which decisions become kernel verdicts, under which key."""

from __future__ import annotations

from typing import Any

import pytest

from mihomo_tproxy.dataplane.abi import VERDICT_KEY, VERDICT_VALUE
from mihomo_tproxy.dataplane.verdicts import KernelVerdicts
from mihomo_tproxy.model.enums import InboundType, Network, Verdict
from mihomo_tproxy.model.fields import (
    DOMAIN,
    DST_ADDR,
    DST_PORT,
    INBOUND,
    NETWORK,
    PACKET,
    SRC_ADDR,
    SRC_PORT,
)
from mihomo_tproxy.model.metadata import Metadata

SRC = bytes(10) + b"\xff\xff\x0a\x09\x00\x02"
DST = bytes(10) + b"\xff\xff\xcb\x00\x71\x05"


class FakeMap:
    """A map that is a dict, and full when told so."""

    def __init__(self) -> None:
        self.held: dict[bytes, bytes] = {}
        self.full = False

    def update(self, key: bytes, value: bytes) -> None:
        if self.full:
            raise OSError(7, "Argument list too long")
        self.held[key] = value


def flow(**changes: Any) -> Metadata:
    known = {
        "network": Network.TCP,
        "inbound": InboundType.TPROXY,
        "source": "10.9.0.2",
        "source_port": 40000,
        "destination": "203.0.113.5",
        "destination_port": 443,
    }
    return Metadata(**(known | changes))


def cache(*masks: int, generation: int = 7) -> tuple[KernelVerdicts, FakeMap]:
    table = FakeMap()
    verdicts = KernelVerdicts(table)  # type: ignore[arg-type]
    verdicts.configure(generation, masks)
    return verdicts, table


@pytest.mark.parametrize(
    ("mask", "key"),
    [
        (DST_ADDR, (bytes(16), DST, b"\0\0", b"\0\0", 0)),
        (SRC_ADDR, (SRC, bytes(16), b"\0\0", b"\0\0", 0)),
        (DST_PORT, (bytes(16), bytes(16), b"\0\0", b"\x01\xbb", 0)),
        (SRC_PORT | NETWORK, (bytes(16), bytes(16), b"\x9c\x40", b"\0\0", 6)),
        (PACKET, (SRC, DST, b"\x9c\x40", b"\x01\xbb", 6)),
    ],
)
def test_the_key_holds_exactly_what_the_decision_depended_on(
    mask: int, key: tuple[bytes, bytes, bytes, bytes, int]
) -> None:
    verdicts, table = cache(mask)
    assert verdicts.learn(flow(), mask, Verdict.DIRECT)
    assert table.held == {VERDICT_KEY.pack(*key, mask): VERDICT_VALUE.pack(7, Verdict.DIRECT)}
    assert (verdicts.learnt, verdicts.failed) == (1, 0)


def test_udp_and_ipv6_keys() -> None:
    verdicts, table = cache(DST_ADDR | NETWORK)
    udp6 = flow(network=Network.UDP, destination="2001:db8::5", source="fd09::2")
    assert verdicts.learn(udp6, DST_ADDR | NETWORK, Verdict.DROP)
    (key,) = table.held
    destination = b"\x20\x01\x0d\xb8" + bytes(11) + b"\x05"
    assert VERDICT_KEY.unpack(key) == (
        bytes(16), destination, bytes(2), bytes(2), 17, DST_ADDR | NETWORK,
    )  # fmt: skip


@pytest.mark.parametrize(
    "depends", [DST_ADDR | DST_PORT, DST_ADDR | DOMAIN, DST_ADDR | INBOUND, SRC_ADDR, 0]
)
def test_a_decision_without_a_key_of_its_own_is_not_cached(depends: int) -> None:
    verdicts, table = cache(DST_ADDR)
    assert not verdicts.learn(flow(), depends, Verdict.DIRECT)
    assert (table.held, verdicts.learnt, verdicts.failed) == ({}, 0, 0)


def test_fields_beyond_the_packet_are_not_cached_even_as_a_mask() -> None:
    verdicts, table = cache(DST_ADDR | DOMAIN)
    assert not verdicts.learn(flow(), DST_ADDR | DOMAIN, Verdict.DIRECT)
    assert table.held == {}


def test_what_depended_on_nothing_is_held_by_the_network() -> None:
    verdicts, table = cache(NETWORK, DST_ADDR | NETWORK)
    assert verdicts.learn(flow(), 0, Verdict.DIRECT)
    (key,) = table.held
    assert VERDICT_KEY.unpack(key) == (bytes(16), bytes(16), bytes(2), bytes(2), 6, NETWORK)


def test_a_flow_known_by_name_only_is_not_cached() -> None:
    verdicts, table = cache(DST_PORT)
    assert not verdicts.learn(flow(destination="", host="a.example"), DST_PORT, Verdict.DIRECT)
    assert table.held == {}


def test_nothing_is_cached_before_the_first_generation() -> None:
    verdicts = KernelVerdicts(FakeMap())  # type: ignore[arg-type]
    assert not verdicts.learn(flow(), DST_ADDR, Verdict.DIRECT)


def test_a_new_generation_stamps_and_limits_what_follows() -> None:
    verdicts, table = cache(DST_ADDR)
    verdicts.configure(8, (DST_PORT,))
    assert not verdicts.learn(flow(), DST_ADDR, Verdict.DIRECT)
    assert verdicts.learn(flow(), DST_PORT, Verdict.PROXY)
    assert list(table.held.values()) == [VERDICT_VALUE.pack(8, Verdict.PROXY)]


def test_a_full_map_is_counted_not_raised() -> None:
    verdicts, table = cache(DST_ADDR)
    table.full = True
    assert not verdicts.learn(flow(), DST_ADDR, Verdict.DIRECT)
    assert (verdicts.learnt, verdicts.failed) == (0, 1)
