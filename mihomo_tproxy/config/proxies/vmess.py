"""`type: vmess`: wiki.metacubex.one/config/proxies/vmess."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mihomo_tproxy.codec.user_id import is_uuid, parse_user_id
from mihomo_tproxy.config.proxies.common import parse_server
from mihomo_tproxy.config.proxies.tls import parse_switched_tls, parse_tls
from mihomo_tproxy.config.proxies.transport import parse_transport
from mihomo_tproxy.config.report import did_you_mean
from mihomo_tproxy.config.specs.transport import GrpcSpec, H2Spec, WebSocketSpec
from mihomo_tproxy.config.specs.vmess import VmessSpec

if TYPE_CHECKING:
    from mihomo_tproxy.config.section import Section
    from mihomo_tproxy.config.specs.tls import TlsSpec
    from mihomo_tproxy.config.specs.transport import TransportSpec

NETWORKS: Final = ("ws", "http", "h2", "grpc")
CIPHERS: Final = ("auto", "aes-128-gcm", "chacha20-poly1305", "none", "zero")
PACKET_ENCODINGS: Final = {
    "": "",
    "xudp": "xudp",
    "packetaddr": "packetaddr",
    "packet": "packetaddr",
}
"""mihomo's words, and what they mean."""

_LEGACY_CIPHERS: Final = ("aes-128-cfb", "aes-128-ctr")
_MAX_ALTER_ID: Final = 65535


def parse(section: Section, common: dict[str, Any]) -> VmessSpec:
    """The entry."""
    server = parse_server(section)
    _refuse_legacy(section)
    transport = parse_transport(section, server["server"], NETWORKS)
    return VmessSpec(
        **common,
        **server,
        uuid=_uuid(section),
        cipher=_cipher(section),
        global_padding=section.boolean("global-padding", False),
        authenticated_length=section.boolean("authenticated-length", False),
        packet_encoding=_packet_encoding(section),
        tls=_tls(section, server["server"], transport),
        transport=transport,
    )


def _uuid(section: Section) -> bytes:
    text = section.text("uuid")
    if not text:
        section.report.problem(section.path, "'uuid' is missing")
    elif not is_uuid(text):
        message = "not a UUID: the one that mihomo makes of such a text is used"
        section.report.warning(section.where("uuid"), message)
    return parse_user_id(text)


def _refuse_legacy(section: Section) -> None:
    if section.integer("alterId", 0, 0, _MAX_ALTER_ID):
        message = "only 0 is supported: the protocol before AEAD is broken, and servers dropped it"
        section.lack("alterId", message)


def _cipher(section: Section) -> str:
    cipher = section.text("cipher", "auto").lower()
    if cipher in CIPHERS:
        return cipher
    if cipher in _LEGACY_CIPHERS:
        section.lack("cipher", f"{cipher!r} is of the protocol before AEAD, not supported")
    else:
        near = did_you_mean(cipher, CIPHERS)
        section.problem("cipher", f"expected one of {', '.join(CIPHERS)}{near}")
    return "auto"


def _packet_encoding(section: Section) -> str:
    """`packet-encoding`, or the two switches that it replaces; xudp goes first."""
    word = section.text("packet-encoding").lower()
    if word not in PACKET_ENCODINGS:
        near = did_you_mean(word, PACKET_ENCODINGS)
        section.problem("packet-encoding", f"expected 'xudp' or 'packetaddr'{near}")
    encoding = PACKET_ENCODINGS.get(word, "")
    packet_addr = section.boolean("packet-addr", False)
    if section.boolean("xudp", False):
        return "xudp"
    return encoding or ("packetaddr" if packet_addr else "")


def _tls(section: Section, server: str, transport: TransportSpec | None) -> TlsSpec | None:
    name = server
    alpn: tuple[str, ...] = ()
    if isinstance(transport, WebSocketSpec):
        hosts = [value for key, value in transport.headers if key.lower() == "host"]
        name = _without_port(hosts[0]) if hosts else server
        alpn = ("http/1.1",)
    elif isinstance(transport, GrpcSpec):
        alpn = ("h2",)
    elif isinstance(transport, H2Spec):
        # mihomo's h2 of VMess is never without TLS, whatever `tls` says.
        section.boolean("tls", True)
        return parse_tls(section, server, name_key="servername", default_alpn=("h2",))
    return parse_switched_tls(section, name, name_key="servername", default_alpn=alpn)


def _without_port(host: str) -> str:
    """The host of a Host header."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
