"""The server's side of TLS, as sans-IO as the client's, with an authority of its own."""

from __future__ import annotations

import ssl
from functools import cache
from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from pathlib import Path

    from mihomo_tproxy.codec.layer import Layer

NAME = "proxy.test"


@cache
def authority() -> trustme.CA:
    return trustme.CA()


@cache
def certificate(*names: str) -> trustme.LeafCert:
    return authority().issue_cert(*(names or (NAME,)))


def trust(authority: trustme.CA, directory: Path) -> str:
    """A file for SSL_CERT_FILE."""
    path = directory / "authority.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


def server_context(
    leaf: trustme.LeafCert | None = None,
    *,
    highest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    alpn: tuple[str, ...] = (),
    client_authority: trustme.CA | None = None,
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = highest
    (leaf or certificate()).configure_cert(context)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if client_authority is not None:
        client_authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class TlsPeer:
    """The server's side of one connection; echoes nothing, collects what it gets."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.connection = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.ready = False
        self.received = b""
        self.closed = False

    def feed(self, data: bytes) -> bytes:
        """Take wire bytes; the answer to them."""
        self._incoming.write(data)
        try:
            if not self.ready:
                self.connection.do_handshake()
                self.ready = True
            while piece := self.connection.read(65536):
                self.received += piece
            self.closed = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.closed = True
        return self._outgoing.read()

    def seal(self, payload: bytes) -> bytes:
        if payload:
            self.connection.write(payload)
        return self._outgoing.read()

    def close(self) -> bytes:
        try:
            self.connection.unwrap()
        except ssl.SSLWantReadError:
            pass
        return self._outgoing.read()


def take_output(layer: Layer) -> bytes:
    wire, layer.output = layer.output, b""
    return bytes(wire)


def shake_hands(layer: Layer, peer: TlsPeer) -> None:
    """Until the client is ready; what it says last stays in it."""
    layer.begin()
    for _ in range(4):
        layer.feed(peer.feed(take_output(layer)))
        if layer.ready:
            return
    raise AssertionError("no end to the handshake")
