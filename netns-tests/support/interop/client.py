"""What stands in the gateway: ours, or mihomo to find out what a server can do."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from peers import Mihomo, Routing
from support.gateway import Gateway
from support.interop.certificates import certificates

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from support.interop.rows import Row

    from mihomo_tproxy.rig import Rig

FIRST_SOURCE_PORT = 20_000
PORTS_PER_ROW = 100
CLIENTS = ("ours", "mihomo")


def source_ports(number: int) -> range:
    """The client's ports that lead to the row of this number."""
    first = FIRST_SOURCE_PORT + number * PORTS_PER_ROW
    return range(first, first + PORTS_PER_ROW)


def routing_of(rows: Mapping[int, Row]) -> Routing:
    """All proxies of the rows, each for the source ports of its number."""
    proxies = {entry["name"]: entry for row in rows.values() for entry in row.entries}
    rules = []
    for number, row in rows.items():
        ports = source_ports(number)
        rules.append(f"SRC-PORT,{ports.start}-{ports.stop - 1},{name_in_rules(row)}")
        proxies[name_in_rules(row)] = {**proxies.pop(str(row)), "name": name_in_rules(row)}
    return Routing(list(proxies.values()), [*rules, "MATCH,REJECT"])


def name_in_rules(row: Row) -> str:
    """The row's name, without what separates the parts of a rule."""
    return str(row).replace(",", "")


@contextmanager
def running(client: str, rig: Rig, routing: Routing) -> Iterator[Gateway | Mihomo]:
    """A gateway with these proxies, to which the run's authority is one of those it trusts."""
    authority = rig.gateway.directory / "authority.pem"
    authority.write_text(certificates().authority, encoding="ascii")
    if client == "mihomo":
        mihomo = Mihomo(rig, routing, {**os.environ, "SSL_CERT_FILE": str(authority)})
        mihomo.start()
        try:
            yield mihomo
        finally:
            mihomo.stop()
        return
    gateway = Gateway(rig, {"proxies": routing.proxies, "rules": routing.rules, **routing.more})
    gateway.start(prefix=["env", f"SSL_CERT_FILE={authority}"])
    with gateway_block(gateway):
        yield gateway


@contextmanager
def gateway_block(gateway: Gateway) -> Iterator[None]:
    """A gateway that runs is stopped at the end, and held to what a stop promises."""
    try:
        yield
    except BaseException as error:
        gateway.__exit__(type(error), error, error.__traceback__)
        raise
    gateway.__exit__(None, None, None)
