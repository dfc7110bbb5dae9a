"""The closed sets of the field, spelled as mihomo prints them."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Network(StrEnum):
    """The transport protocol of a flow."""

    TCP = "tcp"
    UDP = "udp"


class InboundType(StrEnum):
    """How a flow reached us."""

    TPROXY = "TProxy"
    REDIR = "Redir"
    HTTP = "HTTP"
    """A request to a proxy that is no CONNECT."""
    HTTPS = "HTTPS"
    """CONNECT."""
    SOCKS4 = "Socks4"
    SOCKS5 = "Socks5"
    INNER = "Inner"
    """Our own: downloads."""


class TunnelMode(StrEnum):
    """Whether the rules are asked, or everything goes one way."""

    RULE = "rule"
    GLOBAL = "global"
    DIRECT = "direct"


class Verdict(IntEnum):
    """What the kernel does with a new flow. The numbers are the kernel's (`bpf/verdict.h`)."""

    UNKNOWN = 0
    """Nobody decided yet: user space is asked."""
    DIRECT = 1
    """The kernel forwards the flow as if we were not there."""
    PROXY = 2
    """The flow goes to the relay."""
    DROP = 3
    """The flow's packets are discarded without an answer."""
