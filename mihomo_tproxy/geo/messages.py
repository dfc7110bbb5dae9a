"""The messages of geosite.dat and geoip.dat (v2ray's `config.proto`), described at run time.

    GeoSite { 1 country_code  2 repeated Domain { 1 type  2 value  3 repeated Attribute } }
    GeoIP   { 1 country_code  2 repeated CIDR { 1 ip  2 prefix } }
    Attribute { 1 key }

Fields that nobody reads are left out; a parser keeps unknown ones aside. A file with generated code
would tie us to one version of the protobuf runtime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

if TYPE_CHECKING:
    from collections.abc import Sequence

KEYWORD: Final = 0
REGEX: Final = 1
SUFFIX: Final = 2
FULL: Final = 3

_PACKAGE: Final = "mihomo_tproxy.geo"
_BYTES: Final = 12
_MESSAGE: Final = 11
_UINT32: Final = 13
_ONE: Final = 1
_MANY: Final = 3

# Texts are declared as bytes: one that is not UTF-8 spoils itself and not its whole list.
_LAYOUT: Final[dict[str, tuple[tuple[str, int, int, int, str], ...]]] = {
    "Attribute": (("key", 1, _BYTES, _ONE, ""),),
    "Domain": (
        ("type", 1, _UINT32, _ONE, ""),
        ("value", 2, _BYTES, _ONE, ""),
        ("attributes", 3, _MESSAGE, _MANY, "Attribute"),
    ),
    "GeoSite": (("domains", 2, _MESSAGE, _MANY, "Domain"),),
    "CIDR": (("ip", 1, _BYTES, _ONE, ""), ("prefix", 2, _UINT32, _ONE, "")),
    "GeoIP": (("cidrs", 2, _MESSAGE, _MANY, "CIDR"),),
}


def _build() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="mihomo_tproxy_geo.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in _LAYOUT.items():
        message = file.message_type.add(name=name)
        for field, number, kind, label, of in fields:
            added = message.field.add(name=field, number=number, type=kind, label=label)
            if of:
                added.type_name = f".{_PACKAGE}.{of}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    find = pool.FindMessageTypeByName
    return {n: message_factory.GetMessageClass(find(f"{_PACKAGE}.{n}")) for n in _LAYOUT}


_CLASSES: Final = _build()


class Attribute(Protocol):
    """A mark of a name."""

    key: bytes


class Domain(Protocol):
    """An item of a list of names."""

    type: int
    value: bytes
    attributes: Sequence[Attribute]


class Cidr(Protocol):
    """An item of a list of addresses."""

    ip: bytes
    prefix: int


def parse_domains(entry: bytes) -> Sequence[Domain]:
    """The items of a GeoSite. Raises: ValueError: it cannot be parsed."""
    domains: Sequence[Domain] = _parse("GeoSite", entry).domains
    return domains


def parse_cidrs(entry: bytes) -> Sequence[Cidr]:
    """The items of a GeoIP. Raises: ValueError: it cannot be parsed."""
    cidrs: Sequence[Cidr] = _parse("GeoIP", entry).cidrs
    return cidrs


def _parse(name: str, entry: bytes) -> Any:
    try:
        return _CLASSES[name].FromString(entry)
    except DecodeError:
        raise ValueError("a list of it cannot be parsed") from None
