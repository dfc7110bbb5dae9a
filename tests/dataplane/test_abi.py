"""`dataplane/abi.py` against `bpf/verdict.h`, which it repeats."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mihomo_tproxy.dataplane import abi
from mihomo_tproxy.model import fields
from mihomo_tproxy.model.address import V4_BITS, address_key
from mihomo_tproxy.model.enums import Verdict

HEADER = (Path(__file__).parents[2] / "bpf/verdict.h").read_text(encoding="utf-8")
DEFINES = {
    name: int(value) for name, value in re.findall(r"^#define (\w+) (\d+)\b", HEADER, re.MULTILINE)
} | {name: int(value) for name, value in re.findall(r"^#define (\w+)\t+(\d+)\b", HEADER, re.M)}
ENUMS = {name: int(value) for name, value in re.findall(r"^\t([A-Z_]+) = (\d+),", HEADER, re.M)}


@pytest.mark.parametrize(
    "name", [name for name in DEFINES if name.startswith(("FLAG_", "CLIENT_", "MAX_"))]
)
def test_constants_are_the_kernels(name: str) -> None:
    assert getattr(abi, name) == DEFINES[name]


def test_the_header_was_understood() -> None:
    assert sum(name.startswith("FLAG_") for name in DEFINES) == 8
    assert DEFINES["CLIENT_EXCLUDE"] == 2


@pytest.mark.parametrize("field", ["SRC_ADDR", "DST_ADDR", "SRC_PORT", "DST_PORT", "NETWORK"])
def test_fields_are_the_kernels(field: str) -> None:
    assert getattr(fields, field) == DEFINES[f"FIELD_{field}"]


def test_routes_and_verdicts_are_the_kernels() -> None:
    assert {f"ROUTE_{route.name}": route.value for route in abi.Route} == {
        name: value
        for name, value in ENUMS.items()
        if name.startswith("ROUTE_") and name not in ("ROUTE_CLIENTS", "ROUTE_MAX", "ROUTE_NEW")
    }
    assert len(abi.Route) == ENUMS["ROUTE_MAX"]
    assert ENUMS["ROUTE_CLIENTS"] == abi.CLIENT_ROUTES
    assert {f"VERDICT_{verdict.name}": verdict.value for verdict in Verdict} == {
        name: value for name, value in ENUMS.items() if name.startswith("VERDICT_")
    }


def test_settings_survive_packing() -> None:
    settings = abi.Settings(0x800, 7, abi.FLAG_CACHE, 2, 0x1A0A, (2, 10, 31), 9, 1 << 40)
    assert abi.Settings.unpack(settings.pack()) == settings
    assert len(settings.pack()) == 56


def test_settings_refuse_more_masks_than_there_is_room_for() -> None:
    full = abi.Settings(1, 1, 0, 1, 0, tuple(range(1, abi.MAX_MASKS + 1)), 0, 0)
    assert abi.Settings.unpack(full.pack()) == full
    with pytest.raises(ValueError, match="7 masks, room for 6"):
        full._replace(masks=(*full.masks, 31)).pack()


def test_counts_are_summed_over_cpus() -> None:
    rows = [abi.COUNT.pack(1, 100, 1) + abi.COUNT.pack(2, 20, 0), abi.COUNT.pack(10, 1000, 5) * 2]
    assert abi.sum_counts(rows) == abi.Count(11, 1100, 6)
    assert abi.sum_counts(rows, 1) == abi.Count(12, 1020, 5)
    assert abi.sum_counts([]) == abi.Count(0, 0, 0)


def test_prefix_keys_are_in_network_order() -> None:
    key = abi.prefix_key(address_key("192.0.2.0"), 24 + V4_BITS)
    assert key == (120).to_bytes(4, "little") + bytes(10) + b"\xff\xff\xc0\x00\x02\x00"


def test_every_listener_has_a_slot_of_its_own() -> None:
    slots = {
        abi.listener_slot(worker, udp=udp, v6=v6)
        for worker in range(abi.MAX_WORKERS)
        for udp in (False, True)
        for v6 in (False, True)
    }
    assert slots == set(range(abi.MAX_WORKERS * 4))
    assert abi.listener_slot(1, udp=True, v6=False) == 5
    assert abi.listener_slot(1, udp=False, v6=True) == 6
