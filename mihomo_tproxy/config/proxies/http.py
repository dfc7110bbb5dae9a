"""`type: http`: wiki.metacubex.one/config/proxies/http."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mihomo_tproxy.codec.http1 import encode_fields
from mihomo_tproxy.config.proxies.common import parse_server
from mihomo_tproxy.config.proxies.tls import parse_switched_tls
from mihomo_tproxy.config.section import Section
from mihomo_tproxy.config.specs.http import HttpProxySpec
from mihomo_tproxy.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator


def parse(section: Section, common: dict[str, Any]) -> HttpProxySpec:
    """The entry."""
    server = parse_server(section)
    if common["udp"]:
        section.report.warning(section.where("udp"), "ignored: HTTP proxies carry no datagrams")
        common["udp"] = False
    return HttpProxySpec(
        **common,
        **server,
        username=section.text("username"),
        password=section.text("password"),
        headers=tuple(_headers(section)),
        tls=parse_switched_tls(section, server["server"]),
    )


def _headers(section: Section) -> Iterator[tuple[str, str]]:
    options = Section(section.report, section.where("headers"), section.take("headers"))
    for name in options.keys:
        value = options.text(name)
        try:
            encode_fields([(name, value)])
        except LocalProtocolError as error:
            options.problem(name, str(error))
        else:
            yield name, value.strip(" \t")
