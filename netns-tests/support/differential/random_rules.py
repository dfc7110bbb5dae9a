"""Random conditions of every kind, each with the flows that are aimed at its edges.

A `Piece` is a rule without its target. Its aims are parts of flows: the first ones meet the
condition by itself, the later ones miss it by a little.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from support.differential.flow import STEERED
from support.differential.programs import LISTENERS
from support.differential.world import ASNS, GEOIPS, GEOSITES

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

Aim = dict[str, Any]
"""Some fields of a `Flow`."""

WORDS: Final = ("alpha", "beta", "cdn", "delta", "edge", "farm", "gate", "host", "img", "java")
TOP: Final = ("test", "example", "invalid", "com.test", "co.example")
CLIENTS: Final = {
    (0, 4): "192.168.77.10",
    (1, 4): "192.168.78.10",
    (0, 6): "fd77::10",
    (1, 6): "fd78::10",
}
SOURCE_PORTS: Final = range(30_000, 31_000)
"""For SRC-PORT; the ports of other flows begin beyond."""

_PRIVATE: Final = tuple(
    ipaddress.ip_network(prefix)
    for prefix in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("172.16.0.0/12", "192.168.0.0/16", "198.18.0.0/15", "203.0.113.0/24", "224.0.0.0/3"),
        *("::/3", "fc00::/6"),
    )
)
UNSEEN: Final = {
    "PROCESS-NAME": "curl",
    "PROCESS-NAME-REGEX": "^c.*l$",
    "PROCESS-NAME-WILDCARD": "c*l",
    "PROCESS-PATH": "/usr/bin/curl",
    "PROCESS-PATH-REGEX": "^/usr/.*",
    "PROCESS-PATH-WILDCARD": "/usr/*",
    "UID": "0/1000",
}
"""Kinds that no flow of these clients meets, and what would meet others."""


class Piece(NamedTuple):
    """One condition."""

    kind: str
    payload: str
    aims: list[Aim]
    option: str = ""

    @property
    def text(self) -> str:
        """As it stands within an expression."""
        return ",".join(part for part in (self.kind, self.payload, self.option) if part)

    def rule(self, target: str) -> str:
        """As it stands in a list."""
        return ",".join(part for part in (self.kind, self.payload, target, self.option) if part)


class Pieces:
    """Makes conditions; `names` is the DNS that they ask for."""

    def __init__(self, random: Random, missing: str = "") -> None:
        """`missing`: a list of GEOIP that is not there."""
        self.random = random
        self.missing = missing
        self.names: dict[str, list[str]] = {}
        self._count = 0

    def name(self) -> str:
        """A name of its own, mostly one that resolves."""
        self._count += 1
        random = self.random
        labels = [random.choice(WORDS) for _ in range(random.randint(0, 2))]
        name = ".".join([*labels, f"{random.choice(WORDS)}{self._count}", random.choice(TOP)])
        if random.random() < 0.8:
            self.resolves(name, self.address())
        return name

    def label(self, name: str) -> str:
        """The label of `name` that no other name has."""
        return next(label for label in name.split(".") if label[-1].isdigit())

    def resolves(self, name: str, address: str) -> str:
        """Gives a name an address, unless it has one."""
        self.names.setdefault(name, [address])
        return name

    def address(self) -> str:
        """Somewhere, in one of both families."""
        if self.random.random() < 0.3:
            low = self.random.getrandbits(32)
            return str(ipaddress.IPv6Address((0x20010DB8 << 96) + (0x51 << 64) + low))
        network = self.random.choice(("198.51.100.0", "45.60.0.0", "101.0.0.0", "203.0.80.0"))
        size = {"198.51.100.0": 8, "203.0.80.0": 8}.get(network, 16)
        return str(ipaddress.IPv4Address(network) + self.random.getrandbits(size))

    def by_name(self, address: str) -> str:
        """An address, or a name that has it."""
        if self.random.random() < 0.5:
            return address
        self._count += 1
        return self.resolves(f"at{self._count}.{self.random.choice(TOP)}", address)

    def any(self, kinds: tuple[str, ...]) -> Piece:
        """A condition of one of the kinds."""
        kind = self.random.choice(kinds)
        return _MAKERS[kind](self, kind)


def _domain(source: Pieces, kind: str) -> Piece:
    name = source.name()
    near = [f"x.{name}", f"x{name}", name[1:], name.partition(".")[2]]
    return Piece(kind, name, [{"host": host} for host in (name, f"{name}.", *near)])


def _suffix(source: Pieces, kind: str) -> Piece:
    name = source.name()
    below = source.resolves(f"www.{name}", source.address())
    near = (f"x{name}", f"{name}x", name.partition(".")[2])
    return Piece(kind, name, [{"host": host} for host in (below, name, f"a.b.{name}", *near)])


def _keyword(source: Pieces, kind: str) -> Piece:
    name = source.name()
    start = name.index(source.label(name))
    word = name[start : start + source.random.randint(6, 12)].strip(".")
    near = (f"{word[:-1]}-.test", f"{word[::-1]}.test")
    return Piece(kind, word, [{"host": host} for host in (name, f"x{word}y.test", *near)])


def _wildcard(source: Pieces, kind: str) -> Piece:
    name = source.name()
    first = source.label(name)
    tail = name.partition(f"{first}.")[2]
    pattern, hits, misses = source.random.choice(
        (
            (f"{first}?.{tail}", (f"{first}1.{tail}",), (f"{first}.{tail}", f"{first}12.{tail}")),
            (
                f"*.{first}.{tail}",
                (f"a.{first}.{tail}", f"a.b.{first}.{tail}"),
                (f"{first}.{tail}",),
            ),
            (f"{first}*.{tail}", (f"{first}.{tail}", f"{first}x.y.{tail}"), (f"x{first}.{tail}",)),
            (f"*{first}*", (f"{first}.{tail}", f"a{first}b.test"), (f"{first[:-1]}.{tail}",)),
        )
    )
    return Piece(kind, pattern, [{"host": host} for host in (*hits, *misses)])


def _regex(source: Pieces, kind: str) -> Piece:
    name = source.name()
    escaped = name.replace(".", r"\.")
    pattern, hits, misses = source.random.choice(
        (
            (f"^{escaped}$", (name,), (f"x{name}", f"{name}x", name.replace(".", "-", 1))),
            (f"^[a-c]{{2,3}}{escaped}", (f"ab{name}", f"cbax{name}"[:3] + name), (f"a{name}",)),
            (f"(^|\\.){escaped}$", (f"a.{name}", name), (f"a{name}",)),
        )
    )
    return Piece(kind, pattern, [{"host": host} for host in (*hits, *misses)])


def _geosite(source: Pieces, kind: str) -> Piece:
    name = source.random.choice(list(GEOSITES))
    for host in GEOSITES[name]:
        source.resolves(host, source.address())
    return Piece(kind, name, [{"host": host} for host in GEOSITES[name]])


def _resolving(source: Pieces, kind: str, payload: str, addresses: list[str]) -> Piece:
    option = "no-resolve" if source.random.random() < 0.3 else ""
    hosts = (source.by_name(address) for address in addresses)
    return Piece(kind, payload, [{"host": host} for host in hosts], option)


def _source_geoip(source: Pieces, kind: str) -> Piece:
    aims = [{"client": client, "version": version} for client, version in CLIENTS]
    return Piece(kind, source.random.choice(("LAN", "private")), aims)


def _source_asn(source: Pieces, kind: str) -> Piece:
    """The clients' addresses are in none."""
    return Piece(kind, source.random.choice(list(ASNS)), [{"client": 0}, {"client": 1}])


def _dscp(source: Pieces, kind: str) -> Piece:
    number = source.random.choice((8, 10, 46, 63))
    hits = [{"dscp": number, "listener": STEERED, "network": word} for word in ("tcp", "udp")]
    return Piece(kind, f"{number}/1", [*hits, {"dscp": number}, {"dscp": number ^ 1}])


def _unseen(source: Pieces, kind: str) -> Piece:
    """Of another host's programs nothing is known."""
    return Piece(kind, UNSEEN[kind], [{}])


def _geoip(source: Pieces, kind: str) -> Piece:
    name = source.random.choice([name for name in GEOIPS if name != source.missing])
    return _resolving(source, kind, name, list(GEOIPS[name]))


def _asn(source: Pieces, kind: str) -> Piece:
    name = source.random.choice(list(ASNS))
    return _resolving(source, kind, name, list(ASNS[name]))


def is_address(host: str) -> bool:
    """Whether a host is an address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_steered(host: str) -> bool:
    """Whether a host is an address that both programs steer to themselves."""
    if not is_address(host):
        return False
    address = ipaddress.ip_address(host)
    return not any(address in network for network in _PRIVATE if network.version == address.version)


def edges(prefix: str) -> list[str]:
    """The first and last address of a prefix, and those beside it."""
    network = ipaddress.ip_network(prefix)
    first, last = network[0], network[-1]
    return [str(each) for each in (first, last, first - 1, last + 1)]


def random_prefix(source: Pieces, version: int) -> str:
    """A prefix that is not too wide."""
    while (address := ipaddress.ip_address(source.address())).version != version:
        pass
    length = source.random.randint(*((28, 32) if version == 4 else (112, 128)))
    return str(ipaddress.ip_network((address, length), strict=False))


def _cidr(source: Pieces, kind: str) -> Piece:
    prefix = random_prefix(source, 6 if kind == "IP-CIDR6" else 4)
    return _resolving(source, kind, prefix, edges(prefix))


def _suffix_bits(source: Pieces, kind: str) -> Piece:
    address = ipaddress.ip_address(source.address())
    length = source.random.choice((10, 12, 16, 19))
    other = type(address)(int(address) ^ 1 << length)
    near = type(address)(int(address) ^ 1)
    return _resolving(source, kind, f"{address}/{length}", [str(each) for each in (other, near)])


def _source_cidr(source: Pieces, kind: str) -> Piece:
    (client, version), address = source.random.choice(list(CLIENTS.items()))
    length = source.random.randint(*((20, 32) if version == 4 else (8, 128)))
    network = ipaddress.ip_network((address, length), strict=False)
    others = [key for key in CLIENTS if key != (client, version)]
    aims = [{"client": number, "version": v} for number, v in ((client, version), *others)]
    if source.random.random() < 0.3:
        return Piece("IP-CIDR", str(network), aims, "src")
    return Piece(kind, str(network), aims)


def _source_suffix(source: Pieces, kind: str) -> Piece:
    (client, version), address = source.random.choice(list(CLIENTS.items()))
    length = source.random.choice((8, 16, 24))
    other = {"client": 1 - client, "version": version}
    aims = [{"client": client, "version": version}, other, {"version": 10 - version}]
    if source.random.random() < 0.3:
        return Piece("IP-SUFFIX", f"{address}/{length}", aims, "src")
    return Piece(kind, f"{address}/{length}", aims)


def _ports(source: Pieces, kind: str, within: range) -> tuple[str, list[int]]:
    ranges, ports = [], []
    for _ in range(source.random.randint(1, 3)):
        first = source.random.choice(within[1:-40])
        last = first + source.random.choice((0, 0, 1, 30))
        ranges.append(str(first) if first == last else f"{first}-{last}")
        ports += [first, last, first - 1, last + 1]
    return "/".join(ranges), ports


def _port(source: Pieces, kind: str) -> Piece:
    payload, ports = _ports(source, kind, range(1, 65_536))
    return Piece(kind, payload, [{"port": port} for port in ports if 0 < port < 65_536])


def _source_port(source: Pieces, kind: str) -> Piece:
    payload, ports = _ports(source, kind, SOURCE_PORTS)
    return Piece(kind, payload, [{"source_port": port} for port in ports])


def _in_port(source: Pieces, kind: str) -> Piece:
    names = source.random.sample(list(LISTENERS), 2)
    return Piece(kind, str(LISTENERS[names[0]].port), [{"listener": name} for name in names])


def _in_name(source: Pieces, kind: str) -> Piece:
    names = source.random.sample(list(LISTENERS), 3)
    return Piece(kind, "/".join(names[:2]), [{"listener": name} for name in names])


def _in_type(source: Pieces, kind: str) -> Piece:
    words = source.random.sample(("HTTP", "HTTPS", "SOCKS", "SOCKS4", "SOCKS5", "TPROXY"), 2)
    return Piece(kind, "/".join(words), [{"listener": name} for name in (*LISTENERS, STEERED)])


def _in_user(source: Pieces, kind: str) -> Piece:
    payload = source.random.choice(("alice", "bob", "alice/carol"))
    aims = [
        {"listener": where, "user": user}
        for where in ("socks-in", "http-in")
        for user in ("alice", "bob")
    ]
    return Piece(kind, payload, aims)


def _network(source: Pieces, kind: str) -> Piece:
    word = source.random.choice(("tcp", "udp", "TCP", "UDP"))
    return Piece(kind, word, [{"network": word.lower()}, {"network": "tcp"}, {"network": "udp"}])


_MAKERS: Final[dict[str, Callable[[Pieces, str], Piece]]] = {
    "DOMAIN": _domain,
    "DOMAIN-SUFFIX": _suffix,
    "DOMAIN-KEYWORD": _keyword,
    "DOMAIN-WILDCARD": _wildcard,
    "DOMAIN-REGEX": _regex,
    "GEOSITE": _geosite,
    "GEOIP": _geoip,
    "IP-ASN": _asn,
    "IP-CIDR": _cidr,
    "IP-CIDR6": _cidr,
    "IP-SUFFIX": _suffix_bits,
    "SRC-IP-CIDR": _source_cidr,
    "SRC-IP-SUFFIX": _source_suffix,
    "DST-PORT": _port,
    "SRC-PORT": _source_port,
    "SRC-GEOIP": _source_geoip,
    "SRC-IP-ASN": _source_asn,
    "DSCP": _dscp,
    "IN-PORT": _in_port,
    "IN-NAME": _in_name,
    "IN-TYPE": _in_type,
    "IN-USER": _in_user,
    "NETWORK": _network,
    **dict.fromkeys(UNSEEN, _unseen),
}

NAME_KINDS: Final = (
    *("DOMAIN", "DOMAIN-SUFFIX", "DOMAIN-KEYWORD", "DOMAIN-WILDCARD", "DOMAIN-REGEX", "GEOSITE"),
)
ADDRESS_KINDS: Final = ("IP-CIDR", "IP-CIDR6", "IP-SUFFIX", "GEOIP", "IP-ASN")
PORT_KINDS: Final = ("DST-PORT", "SRC-PORT")
BROAD_KINDS: Final = (
    *("SRC-IP-CIDR", "SRC-IP-SUFFIX", "IN-USER", "IN-TYPE", "IN-PORT", "IN-NAME"),
    *("DSCP", "NETWORK", "SRC-GEOIP"),
)
"""Kinds that meet a good part of all flows."""
GEO_KINDS: Final = ("GEOSITE", "GEOIP", "IP-ASN")
"""Kinds that meet more than what is aimed at them."""
NARROW_KINDS: Final = tuple(
    kind for kind in (*NAME_KINDS, *ADDRESS_KINDS, *PORT_KINDS) if kind not in GEO_KINDS
)
