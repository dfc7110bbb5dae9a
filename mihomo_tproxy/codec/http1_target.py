"""Where an HTTP/1.x request wants to go, and as whom (RFC 9112, 3.2; RFC 9110, 4.2; RFC 7617).

    authority-form   host ":" port                      of CONNECT
    absolute-form    scheme "://" host [":" port] path  of requests to a proxy

Hosts come out lower case, IPv6 literals without brackets. Cause: `http-bad-target`.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from socket import AF_INET6, inet_pton
from typing import Final, NamedTuple

from mihomo_tproxy.errors import LocalProtocolError, RemoteProtocolError

_AUTHORITY: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([\x21-\x7e]+?))(?::([0-9]{0,5}))?")
_NOT_IN_HOST: Final = re.compile(r"[\x00-\x20/?#@:\[\]\\%<>\"^`{|}\x7f-\U0010ffff]")
_ABSOLUTE: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://([^/?#]*)([^#]*)(?:#.*)?")
_MAX_PORT: Final = 65535
_MAX_HOST: Final = 255
_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class Absolute(NamedTuple):
    """A target in absolute form."""

    scheme: str
    host: str
    port: int
    origin: str
    """The target in origin form, for the server itself."""
    authority: str
    """As written, for the `Host` field."""


def parse_authority(text: str, default_port: int | None = None) -> tuple[str, int]:
    """Host and port.

    Raises:
        RemoteProtocolError: not an authority, or no port where there is no default.
    """
    found = _AUTHORITY.fullmatch(text) if len(text) <= _MAX_HOST + 8 else None
    if found is None:
        raise RemoteProtocolError("http-bad-target", "not a host and port")
    host = found[1] or found[2].rstrip(".").lower()
    if found[1]:
        try:
            inet_pton(AF_INET6, host)
        except OSError:
            raise RemoteProtocolError("http-bad-target", "not an IPv6 address") from None
    elif not host or len(host) > _MAX_HOST or _NOT_IN_HOST.search(host):
        raise RemoteProtocolError("http-bad-target", "not a host")
    port = int(found[3]) if found[3] else default_port
    if port is None or not 0 < port <= _MAX_PORT:
        raise RemoteProtocolError("http-bad-target", "not a port")
    return host.lower(), port


def parse_absolute(target: str) -> Absolute:
    """A target in absolute form.

    Raises:
        RemoteProtocolError: another form, or a scheme whose port is not known.
    """
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        raise RemoteProtocolError("http-bad-target", "not in absolute form")
    scheme = found[1].lower()
    authority = found[2].rpartition("@")[2]
    host, port = parse_authority(authority, _PORTS.get(scheme))
    origin = found[3] if found[3].startswith("/") else "/" + found[3]
    return Absolute(scheme, host, port, origin, authority)


def encode_authority(host: str, port: int) -> str:
    """`host:port`, an IPv6 literal in brackets and without its scope.

    Raises:
        LocalProtocolError: no host that an authority can name.
    """
    if ":" in host:
        return f"[{host.partition('%')[0]}]:{port}"
    if not 0 < len(host) <= _MAX_HOST or _NOT_IN_HOST.search(host):
        raise LocalProtocolError("bad-name", f"not a host name: {host[:_MAX_HOST]!r}")
    return f"{host}:{port}"


def encode_basic(username: str, password: str) -> str:
    """Credentials as `Authorization` and `Proxy-Authorization` carry them, in UTF-8."""
    return "Basic " + b64encode(f"{username}:{password}".encode()).decode("ascii")


def parse_basic(value: str) -> tuple[bytes, bytes] | None:
    """User name and password; None when it is another scheme or not well-formed."""
    scheme, _, encoded = value.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = b64decode(encoded.strip(" "), validate=True)
    except ValueError:
        return None
    username, colon, password = text.partition(b":")
    return (username, password) if colon else None
