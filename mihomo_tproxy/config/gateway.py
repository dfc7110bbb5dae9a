"""The `gateway` block, which is ours alone.

gateway:
  lan: [br-lan]            # interfaces to steer, globs allowed
  bypass: [10.0.0.0/8]     # destinations never steered
  bypass-private: true     # nor private and reserved ones
  clients: {include: [], exclude: []}    # CIDRs, addresses or MACs
  local: false
  on-failure: open         # open | closed
  workers: 1
  nice: -15                # of the relay workers
  verdict-cache: true
  udp-timeout: 60          # seconds
  tcp-idle-timeout: 7440   # seconds
  max-flows: 32768         # per worker
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.config.interfaces import check_interface
from mihomo_tproxy.config.schema import Clients, Gateway, OnFailure
from mihomo_tproxy.config.section import Section
from mihomo_tproxy.matcher.cidr import parse_cidr

if TYPE_CHECKING:
    from mihomo_tproxy.config.report import Report
    from mihomo_tproxy.config.yaml import Value

MAX_WORKERS: Final = 16
MIN_NICE: Final = -20
MAX_NICE: Final = 19
MAX_UDP_TIMEOUT: Final = 86_400
MIN_TCP_IDLE: Final = 10
MAX_TCP_IDLE: Final = 604_800
MAX_FLOWS: Final = 1 << 20

_MAC: Final = re.compile(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}", re.ASCII)
_DEFAULT: Final = Gateway()

Prefixes = tuple[tuple[int, int], ...]


def parse_gateway(report: Report, value: Value) -> Gateway:
    """The block; what is wrong in it is reported."""
    section = Section(report, "gateway", value)
    gateway = Gateway(
        lan=_lan(section),
        bypass=_bypass(section),
        bypass_private=section.boolean("bypass-private", _DEFAULT.bypass_private),
        clients=_clients(report, section.take("clients")),
        local=section.boolean("local", _DEFAULT.local),
        on_failure=section.choice("on-failure", OnFailure.OPEN),
        workers=section.integer("workers", _DEFAULT.workers, 1, MAX_WORKERS),
        nice=section.integer("nice", _DEFAULT.nice, MIN_NICE, MAX_NICE),
        verdict_cache=section.boolean("verdict-cache", _DEFAULT.verdict_cache),
        udp_timeout=section.integer("udp-timeout", _DEFAULT.udp_timeout, 1, MAX_UDP_TIMEOUT),
        tcp_idle_timeout=section.integer(
            "tcp-idle-timeout", _DEFAULT.tcp_idle_timeout, MIN_TCP_IDLE, MAX_TCP_IDLE
        ),
        max_flows=section.integer("max-flows", _DEFAULT.max_flows, 1, MAX_FLOWS),
    )
    section.warn_unknown()
    return gateway


def _lan(section: Section) -> tuple[str, ...]:
    names: list[str] = []
    for path, text in section.texts("lan"):
        try:
            names.append(check_interface(text, glob=True))
        except ValueError as error:
            section.report.problem(path, str(error))
    return tuple(names)


def _bypass(section: Section) -> Prefixes:
    prefixes: list[tuple[int, int]] = []
    for path, text in section.texts("bypass"):
        try:
            prefixes.extend(parse_cidr(text, bare=True))
        except ValueError as error:
            section.report.problem(path, str(error))
    return _plain(prefixes)


def _clients(report: Report, value: Value) -> Clients:
    section = Section(report, "gateway.clients", value)
    include = _hosts(section, "include")
    exclude = _hosts(section, "exclude")
    section.warn_unknown()
    return Clients(*include, *exclude)


def _hosts(section: Section, key: str) -> tuple[Prefixes, tuple[bytes, ...]]:
    prefixes: list[tuple[int, int]] = []
    macs: list[bytes] = []
    for path, text in section.texts(key):
        if _MAC.fullmatch(text):
            macs.append(bytes.fromhex(text.replace(":", "").replace("-", "")))
            continue
        try:
            prefixes.extend(parse_cidr(text, bare=True))
        except ValueError:
            section.report.problem(path, f"neither a CIDR, an address nor a MAC: {text!r}")
    return _plain(prefixes), tuple(macs)


def _plain(prefixes: list[tuple[int, int]]) -> Prefixes:
    return tuple((key, length) for key, length in prefixes)
