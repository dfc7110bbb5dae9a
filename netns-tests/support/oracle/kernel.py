"""What the kernel holds of a running gateway: counters, and the verdicts it would answer with."""

from __future__ import annotations

import ipaddress
from contextlib import closing
from typing import TYPE_CHECKING, Final, NamedTuple

from support.oracle.world import SOURCES

from mihomo_tproxy.control import ask
from mihomo_tproxy.dataplane import abi
from mihomo_tproxy.dataplane.instance import Instance
from mihomo_tproxy.dataplane.stats import read_routes
from mihomo_tproxy.dataplane.tables import open_map
from mihomo_tproxy.model import fields
from mihomo_tproxy.model.enums import Verdict

if TYPE_CHECKING:
    from support.differential.flow import Flow

    from mihomo_tproxy.rig import Node

_NUMBERS: Final = {"tcp": 6, "udp": 17}
_SLOTS: Final = (fields.SRC_ADDR, fields.DST_ADDR, fields.SRC_PORT, fields.DST_PORT, fields.NETWORK)
_SIZES: Final = (16, 16, 2, 2, 1)

Key = tuple[bytes, ...]


class Answer(NamedTuple):
    """What the kernel would do with a new flow, and by which table."""

    verdict: Verdict
    by: str


class Kernel:
    """The maps of the gateway in a node, and its control socket."""

    def __init__(self, node: Node) -> None:
        self._instance = Instance(f"/run/netns/{node.netns}")

    def ask(self, **request: str) -> None:
        """Has the gateway carry a command out; returns when it has."""
        assert ask(self._instance.control_path, request)["ok"]

    def routes(self) -> dict[abi.Route, abi.Count]:
        """The counters of now."""
        with closing(open_map(self._instance.pins, "totals")) as totals:
            return read_routes(totals)

    def settings(self) -> abi.Settings:
        """The settings in force."""
        with closing(open_map(self._instance.pins, "settings")) as table:
            (data,) = table.lookup(bytes(4)) or ()
        return abi.Settings.unpack(data)

    def held(self) -> Held:
        """Every verdict that counts now."""
        settings = self.settings()
        prefixes: dict[tuple[int, int], Verdict] = {}
        for key, value in self._dump("prefixes"):
            length, address = abi.PREFIX.unpack(key)
            generation, verdict = abi.PREFIX_VERDICT.unpack(value)
            if generation == settings.generation:
                prefixes[length, int.from_bytes(address, "big") >> 128 - length] = Verdict(verdict)
        verdicts: dict[int, dict[Key, Verdict]] = {}
        for key, value in self._dump("verdicts"):
            *parts, number, mask = abi.VERDICT_KEY.unpack(key)
            epoch, verdict = abi.VERDICT_VALUE.unpack(value)
            if epoch == settings.epoch:
                table = verdicts.setdefault(mask, {})
                table[(*parts, bytes([number]))] = Verdict(verdict)
        return Held(settings.masks, prefixes, verdicts)

    def _dump(self, name: str) -> list[tuple[bytes, bytes]]:
        with closing(open_map(self._instance.pins, name)) as table:
            found = [(key, table.lookup(key)) for key in list(table.keys())]
        return [(key, values[0]) for key, values in found if values]


class Held(NamedTuple):
    """The tables, read as the programs read them (`bpf/decide.h`)."""

    masks: tuple[int, ...]
    prefixes: dict[tuple[int, int], Verdict]
    """By length and the bits of that length."""
    verdicts: dict[int, dict[Key, Verdict]]
    """By mask and key."""

    def answer(self, flow: Flow) -> Answer:
        """What a new flow meets."""
        destination = _packed(flow.host)
        number = int.from_bytes(destination, "big")
        for length in range(128, -1, -1):
            found = self.prefixes.get((length, number >> 128 - length), None)
            if found is not None:
                if found is not Verdict.UNKNOWN:
                    return Answer(found, f"prefix of {length}")
                break
        whole = (
            _packed(SOURCES[flow.client, flow.version]),
            destination,
            flow.source_port.to_bytes(2, "big"),
            flow.port.to_bytes(2, "big"),
            bytes([_NUMBERS[flow.network]]),
        )
        for mask in self.masks:
            key = tuple(
                part if mask & slot else bytes(size)
                for part, slot, size in zip(whole, _SLOTS, _SIZES, strict=True)
            )
            verdict = self.verdicts.get(mask, {}).get(key, Verdict.UNKNOWN)
            if verdict is not Verdict.UNKNOWN:
                return Answer(verdict, f"mask {mask}")
        return Answer(Verdict.UNKNOWN, "")


def _packed(address: str) -> bytes:
    packed = ipaddress.ip_address(address).packed
    return packed if len(packed) == 16 else bytes(10) + b"\xff\xff" + packed
