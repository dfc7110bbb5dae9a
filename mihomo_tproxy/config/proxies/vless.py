"""`type: vless`: wiki.metacubex.one/config/proxies/vless."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mihomo_tproxy.config.proxies.carrier import parse_carrier
from mihomo_tproxy.config.proxies.common import parse_server
from mihomo_tproxy.config.proxies.user_id import read_user_id
from mihomo_tproxy.config.specs.vless import VlessSpec

if TYPE_CHECKING:
    from mihomo_tproxy.config.section import Section

VISION: Final = "xtls-rprx-vision"
_PACKET_ADDR: Final = ("packetaddr", "packet")


def parse(section: Section, common: dict[str, Any]) -> VlessSpec:
    """The entry."""
    server = parse_server(section)
    _refuse_flow(section)
    _refuse_encryption(section)
    for key in ("xhttp-opts", "ws-headers"):
        if section.take(key) is not None:
            section.report.warning(section.where(key), "ignored")
    tls, transport = parse_carrier(section, server["server"])
    return VlessSpec(
        **common,
        **server,
        uuid=read_user_id(section),
        packet_encoding=_packet_encoding(section),
        tls=tls,
        transport=transport,
    )


def _refuse_flow(section: Section) -> None:
    """A server whose user has a flow takes nobody without it."""
    flow = section.text("flow")
    if flow.startswith(VISION):
        message = f"{VISION} is not supported by this version; the server must allow no flow"
        section.lack("flow", message)
    elif flow:
        section.problem("flow", f"unknown flow {flow!r}")


def _refuse_encryption(section: Section) -> None:
    if section.text("encryption") not in ("", "none"):
        message = "VLESS encryption is not supported by this version, expected 'none'"
        section.lack("encryption", message)


def _packet_encoding(section: Section) -> str:
    """As mihomo: XUDP unless packet-addr is asked for, in whichever of the keys.

    `xudp: false` with nothing else, which mihomo overrules, is taken at its word: servers without
    XUDP (v2ray 4) would send every datagram to the first remote.
    """
    encoding = section.text("packet-encoding")
    packet_addr = section.boolean("packet-addr", False)
    xudp = section.boolean("xudp", False)
    if encoding in _PACKET_ADDR:
        return "packetaddr"
    if encoding not in ("", "xudp"):
        where = section.where("packet-encoding")
        section.report.warning(where, f"unknown encoding {encoding!r}, taken as 'xudp'")
    if packet_addr and not xudp:
        return "packetaddr"
    refused = section.take("xudp") is not None and not xudp
    return "" if refused and not encoding else "xudp"
