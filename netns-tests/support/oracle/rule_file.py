"""Random rule files and flows for the verdict test; everything follows from the seed.

A file comes in stages, so that decisions depend on more and more: first on what needs no packet at
all and on addresses, then on ports, sources and networks in random order, last on what the kernel
has no key for.
"""

from __future__ import annotations

import ipaddress
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

from support.differential.flow import STEERED, Flow
from support.differential.programs import LISTENERS
from support.oracle.world import (
    BANDS,
    GEOIP,
    GEOSITE,
    HOSTS,
    NAMES,
    NOWHERE,
    PORTS,
    SETS,
    SOURCES,
    STEADY,
    TARGETS,
    V4,
    V6,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STEERED_FLOWS: Final = 80
NAMED_FLOWS: Final = 16
_WAVERING: Final = ("pick", "deaf", "leaky", "streams")
_WORDS: Final = ("test", "example", "one", "two", "fixed", "x")


class Template(NamedTuple):
    """A flow that is sent several times."""

    flow: Flow
    """Its source port is any of the band's."""
    band: int


class Ports:
    """Source ports, each given once."""

    def __init__(self) -> None:
        self._next = [iter(band) for band in BANDS]

    def flow(self, template: Template) -> Flow:
        """The next flow of a template."""
        return template.flow._replace(source_port=next(self._next[template.band]))


class RuleFile:
    """The rules of one seed, and its flows."""

    def __init__(self, seed: int) -> None:
        self._random = random = Random(seed)
        self.sub_rules: dict[str, list[str]] = {}
        self._numbers = count()
        # After a target that may be passed over all depends on the network: every other file has
        # one rule with such a target, behind those that look at addresses.
        self._targets = TARGETS if seed % 2 else STEADY
        first = random.randint(4, 10)
        packet = [(self._port, self._both), (self._network,), (self._source,)]
        random.shuffle(packet)
        stages = [
            (first, (self._address, self._name, self._inbound)),
            *((random.randint(3, 7), kinds) for kinds in self._growing(packet)),
            (random.randint(2, 6), (self._hidden, self._address, self._both, self._sub_rule)),
        ]
        self.rules = [
            self._rule(random.choice(kinds), number) for number, kinds in self._placed(stages)
        ]
        if not seed % 2:
            self.rules.insert(first, f"DST-PORT,80-853,{_WAVERING[seed // 2 % len(_WAVERING)]}")
        if random.random() < 0.7:
            self.rules.append(f"MATCH,{self._target()}")
        self.templates = [*self._steered_flows(), *self._named_flows()]

    def flows(self, number: int) -> Iterator[Flow]:
        """Flows that are not sent, of every kind that the kernel may see."""
        for _ in range(number):
            band = self._random.choice(BANDS)
            yield self._steered()._replace(source_port=self._random.choice(band))

    def _growing(self, packet: list[tuple[Callable[[], str], ...]]) -> Iterator[tuple]:
        kinds: tuple[Callable[[], str], ...] = (self._address, self._name, self._address)
        for more in packet:
            kinds = (*kinds, *more, *more)
            yield kinds

    def _placed(self, stages: list[tuple[int, tuple]]) -> Iterator[tuple[int, tuple]]:
        for number, kinds in stages:
            for _ in range(number):
                yield next(self._numbers), kinds

    def _rule(self, kind: Callable[[], str], number: int) -> str:
        condition = kind()
        if condition.startswith("SUB-RULE"):
            name = f"sub{number}"
            kinds = (self._address, self._port, self._source, self._name)
            self.sub_rules[name] = [
                self._rule(self._random.choice(kinds), number) for _ in range(3)
            ]
            return f"{condition},{name}"
        parts = condition.split("|")
        return ",".join([parts[0], self._target(), *parts[1:]])

    def _target(self) -> str:
        return self._random.choice(self._targets)

    # Conditions; what stands behind "|" comes after the target.

    def _cidr(self, addresses: tuple[str, ...], most: int) -> str:
        address = ipaddress.ip_address(self._random.choice(addresses))
        length = address.max_prefixlen - self._random.randint(0, most)
        return str(ipaddress.ip_network((address, length), strict=False))

    def _plain_address(self) -> str:
        random = self._random
        six = random.random() < 0.4
        prefix = self._cidr(V6 if six else V4, 6)
        return f"{'IP-CIDR6' if six else 'IP-CIDR'},{prefix}"

    def _address(self) -> str:
        random = self._random
        kind = random.choice(("plain", "plain", "plain", "suffix", "geoip", "nets"))
        if kind == "geoip":
            text = f"GEOIP,{random.choice(list(GEOIP))}"
        elif kind == "nets":
            text = "RULE-SET,nets"
        elif kind == "suffix":
            text = f"IP-SUFFIX,{random.choice(V4)}/{random.choice((4, 6, 8))}"
        else:
            text = self._plain_address()
        return text + random.choice(("", "|no-resolve"))

    def _name(self) -> str:
        random = self._random
        names = [*HOSTS, *NAMES]
        kind = random.choice(("DOMAIN", "DOMAIN-SUFFIX", "DOMAIN-KEYWORD", "GEOSITE", "RULE-SET"))
        if kind == "GEOSITE":
            return f"GEOSITE,{random.choice(list(GEOSITE))}"
        if kind == "RULE-SET":
            return f"RULE-SET,{random.choice(list(SETS)[:1])}"
        if kind == "DOMAIN-KEYWORD":
            return f"{kind},{random.choice(_WORDS)}"
        return f"{kind},{random.choice(names)}"

    def _inbound(self) -> str:
        return self._random.choice(
            ("IN-TYPE,SOCKS5", "IN-TYPE,HTTPS/HTTP", "IN-NAME,mixed", "IN-PORT,7892")
        )

    def _port(self) -> str:
        place = self._random.randrange(len(PORTS))
        last = PORTS[min(place + self._random.choice((0, 0, 0, 1)), len(PORTS) - 1)]
        return f"DST-PORT,{PORTS[place]}-{last}"

    def _both(self) -> str:
        address, port = self._plain_address(), self._port()
        shape = self._random.choice(
            ("AND,(({a}),({b}))", "AND,(({b}),(NOT,(({a}))))", "AND,((OR,(({a}),({a}))),({b}))")
        )
        return shape.format(a=address, b=port)

    def _network(self) -> str:
        network = f"NETWORK,{self._random.choice(('tcp', 'UDP'))}"
        other = self._random.choice((self._port, self._plain_address))()
        return f"AND,(({network}),({other}))"

    def _source(self) -> str:
        random = self._random
        sources = tuple(address for (_, version), address in SOURCES.items() if version == 4)
        six = tuple(address for (_, version), address in SOURCES.items() if version == 6)
        prefix = self._cidr(sources, 9) if random.random() < 0.6 else self._cidr(six, 60)
        other = random.choice((self._port, self._plain_address))()
        return f"AND,((SRC-IP-CIDR,{prefix}),({other}))"

    def _hidden(self) -> str:
        random = self._random
        band = random.choice(BANDS)
        return random.choice(
            (
                f"SRC-PORT,{band.start}-{band.stop - 1}",
                f"AND,((SRC-PORT,{band.start}-{band.stop - 1}),({self._port()}))",
                "RULE-SET,mixed",
                "DSCP,46",
                f"AND,((NOT,((DSCP,46))),({self._plain_address()}))",
            )
        )

    def _sub_rule(self) -> str:
        condition = self._random.choice(("NETWORK,udp", "NETWORK,tcp", self._port()))
        return f"SUB-RULE,({condition})"

    # Flows.

    def _steered(self) -> Flow:
        random = self._random
        version = random.choice((4, 6))
        network = random.choice(("tcp", "udp"))
        return Flow(
            network=network,
            listener=STEERED,
            client=random.randrange(2),
            version=version,
            source_port=0,
            host=random.choice(V4 if version == 4 else V6),
            port=random.choice(PORTS),
            dscp=46 if network == "udp" and random.random() < 0.3 else 0,
        )

    def _steered_flows(self) -> Iterator[Template]:
        for _ in range(STEERED_FLOWS):
            yield Template(self._steered(), self._random.randrange(len(BANDS)))

    def _named_flows(self) -> Iterator[Template]:
        random = self._random
        for place in range(NAMED_FLOWS):
            host = [*HOSTS, *NAMES, NOWHERE, random.choice(V4), random.choice(V6)]
            listener = random.choice([name for name in LISTENERS if name != "socks-in"])
            udp = not LISTENERS[listener].http and random.random() < 0.4
            flow = self._steered()._replace(
                network="udp" if udp else "tcp",
                listener=listener,
                host=host[place % len(host)],
                dscp=0,
            )
            yield Template(flow, random.randrange(len(BANDS)))
