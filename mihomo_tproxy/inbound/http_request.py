"""What a proxy makes of HTTP heads: who asks, for what, what is passed on (RFC 9110, 7.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from mihomo_tproxy.codec.http1 import (
    RequestHead,
    ResponseHead,
    encode_request,
    encode_response,
    end_to_end,
    field_values,
    persistent,
)
from mihomo_tproxy.codec.http1_body import BodyReader, ChunkedBody, request_body, response_body
from mihomo_tproxy.codec.http1_target import parse_absolute, parse_authority, parse_basic
from mihomo_tproxy.errors import AuthenticationFailed, RemoteProtocolError
from mihomo_tproxy.model.enums import InboundType, Network

if TYPE_CHECKING:
    from mihomo_tproxy.inbound.inbound import Inbound
    from mihomo_tproxy.model.metadata import RequestMetadata
    from mihomo_tproxy.net.sockopt import SocketAddress

SWITCHING_PROTOCOLS: Final = 101
_TCP: Final = Network.TCP
_HTTP: Final = InboundType.HTTP
_HTTPS: Final = InboundType.HTTPS
_SCHEMES: Final = ("http", "ws")
_REPEATABLE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Forward(NamedTuple):
    """A plain request as the server gets it."""

    metadata: RequestMetadata
    wire: bytes
    upgrade: bool
    """The client wants to speak another protocol."""


class Exchange:
    """One request and its response."""

    __slots__ = ("body", "forward", "keep", "method", "minor", "repeatable", "response", "reusable")

    def __init__(self, request: RequestHead, forward: Forward) -> None:
        """A request that is about to be sent.

        Raises:
            RemoteProtocolError: its end cannot be told for sure.
        """
        self.method = request.method
        self.minor = request.minor
        self.forward = forward
        self.body = request_body(request)
        self.keep = request.minor > 0 and persistent(request)
        """The client's connection outlives the response."""
        self.response: BodyReader | None = None
        """The body of the response, once its head is here."""
        self.reusable = False
        """The server's connection outlives it."""
        self.repeatable = request.method in _REPEATABLE and self.body.done

    def answer(self, head: ResponseHead) -> bytes:
        """Take the head of the response; the head for the client.

        Raises:
            RemoteProtocolError: its end cannot be told for sure.
        """
        body = response_body(head, self.method)
        if not self.minor and isinstance(body, ChunkedBody):
            raise RemoteProtocolError("http-bad-framing", "chunks for an HTTP/1.0 client")
        self.keep = self.keep and self.body.done and not body.until_close
        self.reusable = persistent(head) and self.body.done and not body.until_close
        self.response = body
        return forward_response(head, close=not self.keep)


def authenticate(inbound: Inbound, source: SocketAddress, request: RequestHead) -> bytes:
    """Who asks; b"" where nobody needs to say.

    Raises:
        AuthenticationFailed: no credentials, or wrong ones.
    """
    verify = inbound.gate.verifier(source[0])
    if verify is None:
        return b""
    for name, value in request.headers:
        if name.lower() == "proxy-authorization":
            credentials = parse_basic(value)
            if credentials is not None and verify(*credentials):
                return credentials[0]
            break
    raise AuthenticationFailed("http-auth-failed")


def connect_metadata(
    inbound: Inbound, source: SocketAddress, request: RequestHead, user: bytes
) -> RequestMetadata:
    """The flow that a CONNECT asks for.

    Raises:
        RemoteProtocolError: it names no host and port, or has a body.
    """
    request_body(request)
    host, port = parse_authority(request.target)
    return inbound.metadata(_TCP, _HTTPS, source, host, port, user)


def forward_request(
    inbound: Inbound, source: SocketAddress, request: RequestHead, user: bytes
) -> Forward:
    """A plain request for the server: in origin form, for the host that its target names.

    A client of HTTP/1.0 could not read what a server answers to 1.1, so its version is passed on.

    Raises:
        RemoteProtocolError: its target is not in absolute form, or needs TLS.
    """
    target = parse_absolute(request.target)
    if target.scheme not in _SCHEMES:
        raise RemoteProtocolError("http-bad-target", "a scheme that needs CONNECT")
    metadata = inbound.metadata(_TCP, _HTTP, source, target.host, target.port, user)
    headers = [("Host", target.authority)]
    headers += [each for each in end_to_end(request.headers) if each[0].lower() != "host"]
    protocol = _upgrade(request.headers) if request.minor else ""
    if protocol:
        headers += [("Connection", "Upgrade"), ("Upgrade", protocol)]
    wire = encode_request(request.method, target.origin, headers)
    if not request.minor:
        wire = wire.replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1)
    return Forward(metadata, wire, bool(protocol))


def forward_response(head: ResponseHead, *, close: bool) -> bytes:
    """A response head for the client; `close` says that no other response follows."""
    headers = end_to_end(head.headers)
    if head.status == SWITCHING_PROTOCOLS:
        headers += [("Connection", "Upgrade"), ("Upgrade", _upgrade(head.headers))]
    elif close and head.status >= 200:
        headers.append(("Connection", "close"))
    return encode_response(head.status, head.reason, headers)


def _upgrade(headers: list[tuple[str, str]]) -> str:
    """The protocol to switch to, "" for none."""
    if "upgrade" not in field_values(headers, "connection"):
        return ""
    return ", ".join(value for name, value in headers if name.lower() == "upgrade")
