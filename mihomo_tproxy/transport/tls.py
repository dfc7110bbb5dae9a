"""TLS 1.2 and 1.3 (RFC 5246, RFC 8446) towards a proxy's server: OpenSSL between two buffers.

    payload --- SSLObject --- incoming, outgoing (memory) --- wire

Import this module when a proxy uses TLS, not before: it brings OpenSSL, 4.7 MB.

- The client's last handshake flight stays in `outgoing` until the first `seal`, and leaves together
  with the first payload.
- The newest session of each proxy is offered to the server by every connection; a resumed
  handshake costs us 180 us instead of 420, and the server no signature. It is taken on the first
  payload of a connection, as TLS 1.3 sends tickets after the handshake. One that the server did not
  want is dropped.
- The end of the wire without a close_notify is an end like any other: many servers never send one,
  and what runs inside frames or encrypts itself.
- Held for the peer: at most one unfinished record (16 KiB) and OpenSSL's limits for a handshake.

Causes: `tls-certificate` (chain, name or date), `tls-fingerprint`, `tls-alert` (the server does not
want us), `tls-version`, `tls-not-tls`, `tls-eof` (before the handshake was over), `tls-broken`.
"""

from __future__ import annotations

import ssl
from time import monotonic
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from mihomo_tproxy.codec.layer import Layer
from mihomo_tproxy.errors import AuthenticationFailed, ProtocolError, RemoteProtocolError
from mihomo_tproxy.transport.certificates import (
    check_fingerprint,
    check_name,
    load_authorities,
    load_identity,
)
from mihomo_tproxy.transport.sessions import find_sessions

if TYPE_CHECKING:
    from collections.abc import Callable

    from mihomo_tproxy.codec.layer import Buffer
    from mihomo_tproxy.config.specs.tls import TlsSpec

MAX_RECORD: Final = 16384
"""Payload of one record."""
SLICE: Final = 32768
"""Wire bytes given to OpenSSL at a time: its buffers never shrink, and an idle connection keeps
them. 64 KiB at a time would be 7% faster and cost 30 KB more of each that was ever busy."""
CIPHERS: Final = ":".join(
    (
        *("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
        *("ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384"),
        *("ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"),
        *("ECDHE+AES", "DHE+AES", "!aNULL", "!eNULL", "!SHA1", "!AESCCM"),
    )
)
"""For TLS 1.2, fastest first; those of TLS 1.3 are OpenSSL's own."""

_VERSION: Final = frozenset(
    {"UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE", "TLSV1_ALERT_PROTOCOL_VERSION"}
)
_ALERTS: Final = ("SSLV3_ALERT_", "TLSV1_", "TLSV13_ALERT_")
"""How OpenSSL's names of received alerts begin."""
_NOT_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL"})

_contexts: WeakValueDictionary[tuple[object, ...], ssl.SSLContext] = WeakValueDictionary()
"""A context holds nothing of a connection: proxies of equal settings, of this process's one or two
configurations, share it for as long as one of them uses it."""


class TlsClient:
    """TLS of one proxy: its settings, and the session that the next connection resumes."""

    __slots__ = ("_clock", "_context", "_name", "_refresh_at", "_session", "_sessions", "_spec")

    def __init__(self, spec: TlsSpec, clock: Callable[[], float] = monotonic) -> None:
        """Make it ready; `clock` is in seconds.

        Raises:
            ssl.SSLError: certificate and private key cannot be used.
        """
        self._spec = spec
        self._clock = clock
        self._context = _context_of(spec)
        self._name = spec.server_name.rstrip(".") or None
        self._sessions = find_sessions(self._context)
        self._session: object | None = None
        self._refresh_at = 0.0

    def layer(self) -> TlsLayer:
        """The layer of a new connection."""
        return TlsLayer(self)

    @property
    def session(self) -> object | None:
        """The session that the next connection offers, None for now."""
        return self._session

    def wrap(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject:
        """OpenSSL's side of a new connection, which offers the session."""
        connection = self._context.wrap_bio(incoming, outgoing, server_hostname=self._name)
        if self._session is not None:
            self._sessions.offer(connection, self._session)
        return connection

    def check(self, connection: ssl.SSLObject, offered: object | None) -> None:
        """Judge a finished handshake, as far as OpenSSL did not.

        Raises:
            AuthenticationFailed: this is not the server.
        """
        if connection.session_reused:
            return  # of a connection that passed
        if offered is self._session:
            self._session = None
        spec = self._spec
        if spec.fingerprint:
            check_fingerprint(connection, spec.fingerprint, _name_to_check(spec))
        elif spec.name_cert_verify:
            check_name(connection, spec.name_cert_verify)

    def keep_session(self, connection: ssl.SSLObject) -> None:
        """Take the session of a connection that received payload, if it is time for a new one."""
        now = self._clock()
        if now < self._refresh_at:
            return
        self._refresh_at = now + self._sessions.refresh_s
        session = self._sessions.take(connection)
        if session is not None:
            self._session = session


class TlsLayer(Layer):
    """The client's side of one TLS connection."""

    __slots__ = ("_client", "_connection", "_first", "_incoming", "_offered", "_outgoing")

    def __init__(self, client: TlsClient) -> None:
        super().__init__()
        self.ready = False
        self._client = client
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._offered = client.session
        self._connection = client.wrap(self._incoming, self._outgoing)
        self._first = True

    @property
    def resumed(self) -> bool:
        """Whether the server resumed an earlier session."""
        return bool(self._connection.session_reused)

    @property
    def version(self) -> str:
        """`TLSv1.2` or `TLSv1.3`, "" before the server has chosen."""
        return self._connection.version() or "" if self.ready else ""

    def begin(self) -> None:
        """Say hello.

        Raises:
            RemoteProtocolError: OpenSSL has nothing to say with these settings.
        """
        try:
            self._shake_hands()
        except ssl.SSLError as error:
            raise _translate(error, shaken=False) from None

    def feed(self, data: Buffer) -> Buffer:
        """Take records; the payload of those that are complete.

        Raises:
            AuthenticationFailed: the server is not who it should be.
            RemoteProtocolError: it refuses us, breaks TLS, or does not speak it.
        """
        if self.ended:
            return b""
        pieces: list[bytes] = []
        try:
            if len(data) <= SLICE:
                self._take(data, pieces)
            else:
                view = memoryview(data)
                for start in range(0, len(view), SLICE):
                    self._take(view[start : start + SLICE], pieces)
        except ssl.SSLError as error:
            raise _translate(error, shaken=self.ready) from None
        if not pieces:
            return b""
        if self._first:
            self._first = False
            self._after_first()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def feed_eof(self) -> None:
        """The wire ended.

        Raises:
            RemoteProtocolError: before the handshake was over.
        """
        if not self.ready:
            raise RemoteProtocolError("tls-eof", "the server hung up during the handshake")

    def seal(self, payload: Buffer) -> Buffer:
        """The records of payload, behind what is left of the handshake.

        Raises:
            RemoteProtocolError: this connection's keys may not be used for any more of them.
        """
        if payload:
            try:
                self._connection.write(payload)
            except ssl.SSLError as error:
                raise _translate(error, shaken=True) from None
        return self._outgoing.read()

    def finish(self) -> Buffer:
        """The close_notify; what the server still has to say may come."""
        try:
            self._connection.unwrap()
        except ssl.SSLError:
            pass  # it waits for the server's own, which `feed` will see
        return self._outgoing.read()

    def _after_first(self) -> None:
        """The tickets have come: servers send them before their first payload."""
        self._client.keep_session(self._connection)
        try:
            # A ticket leaves OpenSSL with a write buffer of 17 KB, which the next write gives back;
            # but a connection may have nothing more to say for long. This puts nothing on the wire.
            self._connection.write(b"")
        except ssl.SSLError:
            pass  # our side is finished already

    def _take(self, data: Buffer, pieces: list[bytes]) -> None:
        """A slice of the wire; adds the payload of each record that it completes.

        OpenSSL gives one record at a time, and keeps what is incomplete to itself.
        """
        incoming = self._incoming
        incoming.write(data)
        if not self.ready:
            self._shake_hands()
            if not (self.ready and incoming.pending):
                return
        read = self._connection.read
        try:
            while True:
                piece = read(MAX_RECORD)
                if not piece:
                    self.ended = True
                    break
                pieces.append(piece)
                if not incoming.pending:
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:  # as b"", once we said that we are finished
            self.ended = True
        if self._outgoing.pending:
            self.output += self._outgoing.read()

    def _shake_hands(self) -> None:
        try:
            self._connection.do_handshake()
        except ssl.SSLWantReadError:
            self.output += self._outgoing.read()
            return
        self._client.check(self._connection, self._offered)
        self._offered = None
        self.ready = True


def _context_of(spec: TlsSpec) -> ssl.SSLContext:
    verify = not spec.fingerprint and bool(spec.name_cert_verify or not spec.skip_cert_verify)
    match = verify and not spec.name_cert_verify
    key = (verify, match, spec.alpn, spec.certificate, spec.private_key)
    context = _contexts.get(key)
    if context is None:
        context = _contexts[key] = _new_context(spec, verify, match)
    return context


def _new_context(spec: TlsSpec, verify: bool, match: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.check_hostname = match
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    context.set_ciphers(CIPHERS)
    if spec.alpn:
        context.set_alpn_protocols(list(spec.alpn))
    if verify:
        load_authorities(context)
    if spec.certificate:
        load_identity(context, spec.certificate, spec.private_key)
    return context


def _name_to_check(spec: TlsSpec) -> str:
    return spec.name_cert_verify or spec.server_name


def _translate(error: ssl.SSLError, shaken: bool) -> ProtocolError:
    """What OpenSSL says, in our words; `shaken`: after the handshake."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return AuthenticationFailed("tls-certificate", error.verify_message)
    reason = error.reason or "unknown"
    message = reason.replace("_", " ").lower()
    if reason in _VERSION:
        return RemoteProtocolError("tls-version", message)
    if reason.startswith(_ALERTS):
        return RemoteProtocolError("tls-alert", message)
    if reason in _NOT_TLS and not shaken:
        return RemoteProtocolError("tls-not-tls", message)
    return RemoteProtocolError("tls-broken", message)
