"""One random file of a few hundred rules, and the flows that are aimed at them.

Everything follows from the seed. Conditions that meet a good part of all flows stand within
expressions or at the end of the list, so that the rules after them are reached.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, Final

from support.differential.flow import STEERED, Flow
from support.differential.programs import LISTENERS, PASSWORDS, listeners
from support.differential.random_rules import (
    ADDRESS_KINDS,
    BROAD_KINDS,
    GEO_KINDS,
    NAME_KINDS,
    NARROW_KINDS,
    PORT_KINDS,
    SOURCE_PORTS,
    UNSEEN,
    Aim,
    Piece,
    Pieces,
    is_address,
    is_steered,
)
from support.differential.rule_sets import RuleSets
from support.differential.world import GROUPS, PROXIES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

LOGIN: Final = ("socks-in", "http-in")
"""Listeners that ask who it is."""
FIRST_PORT: Final = SOURCE_PORTS.stop
UNAIMED: Final = 20
"""Flows that are aimed at nothing."""
_TARGETS: Final = (*PROXIES, *PROXIES, *(group["name"] for group in GROUPS))
_RARE: Final = ("DIRECT", "DIRECT", "REJECT", "REJECT-DROP", "PASS", "COMPATIBLE", "GLOBAL")
_PARTS: Final = (NAME_KINDS, ADDRESS_KINDS, PORT_KINDS, BROAD_KINDS)


class RuleFile:
    """The rules, what they need, and flows."""

    def __init__(self, seed: int, count: int, home: Path) -> None:
        self.random = Random(seed)
        self.geodata_mode = seed % 3 == 0
        self.pieces = Pieces(self.random, "ZZ" if self.geodata_mode else "")
        self.sets = RuleSets(self.pieces, home)
        self.rules: list[str] = []
        self.sub_rules: dict[str, list[str]] = {}
        self.hosts: dict[str, str] = {}
        self._aimed: list[tuple[str, list[Aim]]] = []
        self._ports: set[tuple[str, int]] = set()
        self._next_port = FIRST_PORT
        for _ in range(count * 2 // 3):
            nested = self.random.random() < 0.08
            self._add(self.rules, self._sub_rule() if nested else self._piece())
        for _ in range(count // 3):
            geo = self.random.random() < 0.5
            self._add(self.rules, self.pieces.any(GEO_KINDS) if geo else self._piece())
        for kind in (*UNSEEN, "SRC-IP-ASN"):
            self._add(self.rules, self.pieces.any((kind,)))
        for kind in (BROAD_KINDS * 2)[seed * 3 % len(BROAD_KINDS) :][:3]:
            while (piece := self.pieces.any((kind,))).kind != kind:
                pass
            self._add(self.rules, piece)
            self._aimed += [(kind, [aim]) for aim in piece.aims]
        if seed % 2:
            self.rules.append(f"MATCH,{self._target()}")
        self.names = self.pieces.names
        self._add_hosts()
        self.flows = list(self._make_flows())

    def sections(self) -> dict[str, Any]:
        """The sections of the configuration, but for `proxies`."""
        return {
            "mode": "rule",
            "ipv6": True,
            "hosts": self.hosts,
            "listeners": listeners(LOGIN),
            "proxy-groups": GROUPS,
            "rule-providers": self.sets.providers,
            "sub-rules": self.sub_rules,
            "rules": self.rules,
            "geodata-mode": self.geodata_mode,
        }

    def _target(self) -> str:
        return self.random.choice(_RARE if self.random.random() < 0.15 else _TARGETS)

    def _add(self, rules: list[str], piece: Piece) -> None:
        rules.append(piece.rule(self._target()))
        self._aimed.append((piece.kind, piece.aims))

    def _piece(self, depth: int = 0) -> Piece:
        chance = self.random.random()
        if chance < 0.6 or depth > 1:
            return self.pieces.any(NARROW_KINDS)
        if chance < 0.75:
            return self.sets.any()
        return self._expression(depth)

    def _expression(self, depth: int) -> Piece:
        """A condition in parentheses that meets a small part of all flows."""
        narrow = self._piece(depth + 1)
        chance = self.random.random()
        if chance < 0.3:
            other = self._piece(depth + 1)
            aims = [*narrow.aims, *other.aims]
            self.random.shuffle(aims)
            return Piece("OR", f"(({narrow.text}),({other.text}))", aims)
        others = [kinds for kinds in _PARTS if narrow.kind not in kinds]
        other = self.pieces.any(self.random.choice(others))
        aims = self._combined(narrow, other)
        if chance < 0.5:
            other = Piece("NOT", f"(({other.text}))", other.aims)
        parts = [narrow.text, other.text]
        self.random.shuffle(parts)
        return Piece("AND", f"(({parts[0]}),({parts[1]}))", aims)

    def _combined(self, first: Piece, second: Piece) -> list[Aim]:
        """Flows that meet both, and those that meet one and are close to the other."""
        random = self.random
        return [
            {**second.aims[0], **first.aims[0]},
            {**random.choice(second.aims), **first.aims[0]},
            {**random.choice(first.aims), **second.aims[0]},
        ]

    def _sub_rule(self, *, inner: bool = False) -> Piece:
        """A condition, and a list of its own that may or may not decide."""
        name = f"sub{len(self.sub_rules)}"
        rules = self.sub_rules[name] = []
        condition = self.pieces.any(self.random.choice((PORT_KINDS, BROAD_KINDS)))
        aims = []
        for _ in range(4):
            nested = not inner and self.random.random() < 0.15
            piece = self._sub_rule(inner=True) if nested else self._piece(1)
            rules.append(piece.rule(self._target()))
            aims += [{**piece.aims[0], **condition.aims[0]}]
        return _SubRule("SUB-RULE", f"({condition.text})", aims, name)

    def _add_hosts(self) -> None:
        """Some of the names have their address in the file as well, and some another name."""
        names = sorted(self.pieces.names)
        for name in self.random.sample(names, len(names) // 12):
            self.hosts[name] = self.pieces.address()
        for name in self.random.sample(names, 3):
            self.hosts.setdefault(f"alias.{name}", name)

    # Flows.

    def _make_flows(self) -> Iterable[Flow]:
        for _, aims in self._aimed:
            yield self._flow(self.random.choice(aims[:2]))
            yield self._flow(self.random.choice(aims))
        for name in (*self.hosts, *(self.pieces.name() for _ in range(UNAIMED))):
            yield self._flow({"host": name})

    def _flow(self, aim: Aim) -> Flow:
        random = self.random
        host = aim.get("host") or (
            self.pieces.name() if random.random() < 0.7 else self.pieces.address()
        )
        steered = [STEERED, STEERED] if is_steered(host) else []
        listener = aim.get("listener") or random.choice([*LISTENERS, *steered])
        version = aim.get("version") or random.choice((4, 4, 6))
        if listener == STEERED:
            if not is_steered(host):
                host = self.pieces.address()
            version = 6 if ":" in host else 4
        network = aim.get("network") or ("udp" if random.random() < 0.25 else "tcp")
        if listener != STEERED and LISTENERS[listener].http:
            network = "tcp"
        if network == "udp" and not is_address(host):
            # Without an address mihomo drops it, whatever the rules say.
            self.pieces.resolves(host.rstrip("."), self.pieces.address())
        user = aim.get("user") or random.choice(list(PASSWORDS))
        return Flow(
            network=network,
            listener=listener,
            client=aim.get("client", random.randrange(2)),
            version=version,
            source_port=self._source_port(network, aim.get("source_port")),
            host=host,
            port=aim.get("port") or random.randrange(1, 65_536),
            user=user if listener in LOGIN else "",
            dscp=aim.get("dscp", 0),
        )

    def _source_port(self, network: str, wanted: int | None) -> int:
        if wanted is not None and (network, wanted) not in self._ports:
            self._ports.add((network, wanted))
            return wanted
        self._next_port += 1
        return self._next_port


class _SubRule(Piece):
    """A rule whose target is the name of a list."""

    def rule(self, target: str) -> str:
        return f"{self.kind},{self.payload},{self.option}"
