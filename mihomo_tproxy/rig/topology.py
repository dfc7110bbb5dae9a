"""What a rig looks like: a small value, and the YAML people write for it.

    clients: 2            # LAN clients, 1..16
    lan: routed           # routed: one link and subnet per client; bridged: br-lan in the gateway;
                          # switched: all clients behind one gateway interface
    l3: false             # LAN links without an Ethernet header (TUN); only with lan: routed
    vlan: 10              # LAN links carry frames tagged with this id; only with lan: routed
    nat: false            # masquerade towards the WAN
    servers: true         # `rig up` starts the built-in servers on the internet node
    name: home            # default: the file's name without its suffix
    wan:                  # absent: a plain link
      delay-ms: 20        # one way, each direction
      jitter-ms: 2        # uniform, plus or minus
      loss: 0.001         # 0..1
      rate-mbit: 100
      queue-kb: 256       # what waits for the rate; more is dropped
      reorder: false      # whether jitter may let packets overtake each other
      seed: 1
      down: {...}         # the direction internet -> gateway, where it differs

Every mistake in a file is reported at once, by a RigError whose text has one line for each.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mihomo_tproxy.errors import ConfigError, RigError

if TYPE_CHECKING:
    from pathlib import Path

MAX_CLIENTS = 16
"""Subnets and addresses are numbered from fixed bases; this many fit without overlap."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")


class LanMode(StrEnum):
    """How the clients reach the gateway."""

    ROUTED = "routed"
    """One link and one subnet per client: lan0, lan1, ..."""
    BRIDGED = "bridged"
    """One subnet; the gateway bridges the clients' links into br-lan."""
    SWITCHED = "switched"
    """One subnet; a switch of its own joins the clients to the gateway's lan0."""


@dataclass(slots=True, frozen=True, kw_only=True)
class WanProfile:
    """What one direction of a link does to packets; both directions unless `down` is given."""

    delay_ms: float = 0.0
    """One way, in milliseconds: a round trip takes twice as long."""
    jitter_ms: float = 0.0
    """Uniform, plus or minus, in milliseconds; at most `delay_ms`."""
    loss: float = 0.0
    """Probability that a packet is lost, 0..1; each packet by itself."""
    rate_mbit: float | None = None
    """Megabits per second on the wire, IP headers included; None is unlimited."""
    queue_kb: int = 256
    """Kilobytes that may wait for the rate; what comes on top is dropped."""
    reorder: bool = False
    """Whether jitter may let a packet overtake an earlier one."""
    seed: int = 1
    """Seed of loss and jitter; each direction draws from its own generator."""
    down: WanProfile | None = None
    """The direction internet to gateway, where it differs."""

    def problems(self, path: str = "wan") -> list[str]:
        """Why this profile cannot be used, one sentence for each reason."""
        found = []
        if not 0 <= self.delay_ms <= 60_000:
            found.append(f"{path}.delay-ms: {self.delay_ms} is not within 0..60000")
        if not 0 <= self.jitter_ms <= self.delay_ms:
            found.append(f"{path}.jitter-ms: {self.jitter_ms} is not within 0..delay-ms")
        if not 0 <= self.loss <= 1:
            found.append(f"{path}.loss: {self.loss} is not within 0..1")
        if self.rate_mbit is not None and not 0 < self.rate_mbit <= 100_000:
            found.append(f"{path}.rate-mbit: {self.rate_mbit} is not above 0 and at most 100000")
        if not 2 <= self.queue_kb <= 65_536:
            found.append(f"{path}.queue-kb: {self.queue_kb} is not within 2..65536")
        if self.down is not None:
            if self.down.down is not None:
                found.append(f"{path}.down.down: a direction has no direction of its own")
            else:
                found += self.down.problems(f"{path}.down")
        return found


@dataclass(slots=True, frozen=True, kw_only=True)
class Topology:
    """LAN clients, a gateway, a WAN and an internet."""

    name: str | None = None
    """Names the rig's state file; None: a unique one is made up."""
    clients: int = 2
    lan: LanMode = LanMode.ROUTED
    l3: bool = False
    """LAN links without an Ethernet header."""
    vlan: int | None = None
    """802.1Q id of the frames on the LAN links."""
    nat: bool = False
    """Masquerade what leaves by the WAN; off: the internet has routes back to the LAN."""
    wan: WanProfile | None = None
    """None: a plain veth pair, which costs least."""
    servers: bool = True
    """Whether `rig up` starts the built-in servers; a Rig starts them when they are first used."""

    def check(self) -> None:
        """Raises RigError naming every reason why this topology cannot be built."""
        found = []
        if self.name is not None and not _NAME.fullmatch(self.name):
            found.append(f"name: {self.name!r} is not 1..32 letters, digits, '_', '.' or '-'")
        if not 1 <= self.clients <= MAX_CLIENTS:
            found.append(f"clients: {self.clients} is not within 1..{MAX_CLIENTS}")
        if self.vlan is not None and not 1 <= self.vlan <= 4094:
            found.append(f"vlan: {self.vlan} is not within 1..4094")
        if self.lan is not LanMode.ROUTED and (self.l3 or self.vlan is not None):
            found.append(f"lan: {self.lan} goes with neither l3 nor vlan")
        if self.l3 and self.vlan is not None:
            found.append("vlan: a link without an Ethernet header carries no tag")
        if self.wan is not None:
            found += self.wan.problems()
        if found:
            raise RigError("\n".join(found))


def load_topology(path: Path) -> Topology:
    """The topology a YAML file describes. Raises RigError for each mistake, all at once."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RigError(f"{path}: cannot be read: {error}") from None
    return parse_topology(_load_yaml(text, path), default_name=path.stem, where=str(path))


def parse_topology(document: Any, *, default_name: str | None, where: str) -> Topology:
    """The topology a parsed document describes; `where` begins each line of a RigError."""
    if document is None:
        document = {}
    problems: list[str] = []
    values = _fields(Topology, document, "", problems)
    values.setdefault("name", default_name)
    if "lan" in values:
        try:
            values["lan"] = LanMode(values["lan"])
        except ValueError:
            modes = ", ".join(LanMode)
            problems.append(f"lan: {values.pop('lan')!r} is none of {modes}")
    topology = Topology(**values)
    try:
        topology.check()
    except RigError as error:
        problems += str(error).splitlines()
    if problems:
        raise RigError("\n".join(f"{where}: {problem}" for problem in problems))
    return topology


_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "bool": ((bool,), "true or false"),
    "int": ((int,), "a whole number"),
    "int | None": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "float | None": ((int, float), "a number"),
    "str | None": ((str,), "a text"),
    "LanMode": ((str,), "a text"),
}


def _fields(kind: type, document: Any, path: str, problems: list[str]) -> dict[str, Any]:
    """The values of `document` for the dataclass `kind`; what does not fit goes to `problems`."""
    if not isinstance(document, dict):
        problems.append(f"{path or 'the document'}: must be a mapping")
        return {}
    known = {field.name.replace("_", "-"): field for field in dataclasses.fields(kind)}
    values: dict[str, Any] = {}
    for key, value in document.items():
        here = f"{path}.{key}" if path else str(key)
        field = known.get(str(key))
        if field is None:
            problems.append(f"{here}: unknown; known are {', '.join(known)}")
        elif value is None:
            continue
        elif str(field.type) == "WanProfile | None":
            values[field.name] = WanProfile(**_fields(WanProfile, value, here, problems))
        else:
            types, wanted = _KINDS[str(field.type)]
            if isinstance(value, types) and isinstance(value, bool) == (bool in types):
                values[field.name] = value
            else:
                problems.append(f"{here}: must be {wanted}")
    return values


def _load_yaml(text: str, path: Path) -> Any:
    from mihomo_tproxy.config.yaml import load_text

    try:
        document = load_text(text)
    except ConfigError as error:
        raise RigError(f"{path}: {error}") from None
    if document.problems:
        raise RigError(f"{path}: {'; '.join(str(problem) for problem in document.problems)}")
    return document.value
