"""`type: socks5`: wiki.metacubex.one/config/proxies/socks.

mihomo 1.19 passes over `sni` here and always names the server; an entry that has one means it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mihomo_tproxy.codec.socks5 import MAX_CREDENTIAL_BYTES
from mihomo_tproxy.config.proxies.common import parse_server
from mihomo_tproxy.config.proxies.tls import parse_switched_tls
from mihomo_tproxy.config.specs.socks5 import Socks5Spec

if TYPE_CHECKING:
    from mihomo_tproxy.config.section import Section


def parse(section: Section, common: dict[str, Any]) -> Socks5Spec:
    """The entry."""
    server = parse_server(section)
    username = _credential(section, "username")
    password = _credential(section, "password")
    if password and not username:
        message = "no effect without 'username': no authentication is offered"
        section.report.warning(section.where("password"), message)
    return Socks5Spec(
        **common,
        **server,
        username=username,
        password=password,
        tls=parse_switched_tls(section, server["server"]),
    )


def _credential(section: Section, key: str) -> str:
    text = section.text(key)
    if len(text.encode()) <= MAX_CREDENTIAL_BYTES:
        return text
    section.problem(key, f"SOCKS5 carries {MAX_CREDENTIAL_BYTES} bytes at most")
    return ""
