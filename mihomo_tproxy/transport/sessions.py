"""TLS sessions, out of one connection and into the next (RFC 8446, 2.2; RFC 5077).

`ssl` copies a session by writing it out and parsing it back, with the server's certificate and key:
115 us to offer one (more with a cold cache: a third of all work for a short connection) and 123 us
to take one. OpenSSL's own SSL_SESSION_dup shares those and takes 1 us, but has to be called beside
`ssl`, which means to find the `SSL *` within CPython's object:

    _ssl._SSLSocket    | object head 16 | owner 8 | SSL * 8 | context 8 | ...
    _ssl._SSLContext   | object head 16 | SSL_CTX * 8 | ...

That is so in CPython 3.11 to 3.13 for 64 bits, but promised by nobody. Before any call the
layout is checked on an object of the running interpreter: the context must be where it should be,
then OpenSSL must agree that this SSL belongs to that SSL_CTX. Where that fails, `ssl` copies.

A copy of one's own is needed: OpenSSL marks the session of a connection that broke as unusable.
"""

from __future__ import annotations

import ctypes
import ssl
import sys
from typing import Any, Final, Protocol

_HEAD: Final = 16
_WORD: Final = 8


class Sessions(Protocol):
    """How sessions are taken and offered."""

    refresh_s: float
    """How often taking a new one is worth it."""

    def take(self, connection: ssl.SSLObject) -> object | None:
        """The session that a connection got from its server, None when there is none to resume."""

    def offer(self, connection: ssl.SSLObject, session: object) -> None:
        """Offer a session of the same context; before the handshake."""


class CopiedSessions:
    """By means of `ssl` alone."""

    refresh_s = 5.0

    def take(self, connection: ssl.SSLObject) -> ssl.SSLSession | None:
        """A copy of the session, in 123 us."""
        session = connection.session
        if session is not None and (session.has_ticket or session.id):
            return session
        return None

    def offer(self, connection: ssl.SSLObject, session: object) -> None:
        """Offer a copy, in 115 us."""
        connection.session = session  # type: ignore[assignment]


class _Session:
    """An SSL_SESSION of our own."""

    __slots__ = ("_free", "pointer")

    def __init__(self, pointer: int, free: Any) -> None:
        self.pointer = pointer
        self._free = free

    def __del__(self) -> None:
        self._free(self.pointer)


class SharedSessions:
    """By means of OpenSSL, 1 us each way."""

    refresh_s = 0.0

    def __init__(self, library: ctypes.CDLL) -> None:
        """Look the functions up.

        Raises:
            AttributeError: the library is not OpenSSL, or an older one.
        """
        pointer = ctypes.c_void_p
        self._context_of = _function(library.SSL_get_SSL_CTX, pointer, pointer)
        self._get = _function(library.SSL_get_session, pointer, pointer)
        self._set = _function(library.SSL_set_session, ctypes.c_int, pointer, pointer)
        self._copy = _function(library.SSL_SESSION_dup, pointer, pointer)
        self._usable = _function(library.SSL_SESSION_is_resumable, ctypes.c_int, pointer)
        self._free = _function(library.SSL_SESSION_free, None, pointer)

    def take(self, connection: ssl.SSLObject) -> _Session | None:
        """A copy of the session that shares its certificates."""
        session = self._get(_inner_word(connection, 1))
        if not session or not self._usable(session):
            return None
        copy = self._copy(session)
        return _Session(copy, self._free) if copy else None

    def offer(self, connection: ssl.SSLObject, session: object) -> None:
        """Offer a copy of a session taken here."""
        assert isinstance(session, _Session)  # noqa: S101 - of `take`
        copy = self._copy(session.pointer)
        if copy:
            self._set(_inner_word(connection, 1), copy)
            self._free(copy)

    def fits(self, context: ssl.SSLContext) -> bool:
        """Whether this interpreter's objects are laid out as they must be."""
        connection = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="a.test")
        if _inner_size(connection) < _HEAD + 3 * _WORD or _inner_word(connection, 2) != id(context):
            return False
        native = ctypes.c_void_p.from_address(id(context) + _HEAD).value
        found: int | None = self._context_of(_inner_word(connection, 1))
        return native is not None and found == native


def find_sessions(context: ssl.SSLContext) -> Sessions:
    """The fastest way that works in this interpreter."""
    if sys.implementation.name != "cpython" or ctypes.sizeof(ctypes.c_void_p) != _WORD:
        return CopiedSessions()
    try:
        # The functions that the `ssl` module itself is linked to, whatever else is loaded.
        shared = SharedSessions(ctypes.PyDLL(sys.modules["_ssl"].__file__))
    except (AttributeError, OSError):
        return CopiedSessions()
    return shared if shared.fits(context) else CopiedSessions()


def _function(function: Any, result: Any, *arguments: Any) -> Any:
    function.restype = result
    function.argtypes = arguments
    return function


def _inner(connection: ssl.SSLObject) -> Any:
    return connection._sslobj  # type: ignore[attr-defined]


def _inner_size(connection: ssl.SSLObject) -> int:
    return int(type(_inner(connection)).__basicsize__)


def _inner_word(connection: ssl.SSLObject, index: int) -> int | None:
    address = id(_inner(connection)) + _HEAD + index * _WORD
    return ctypes.c_void_p.from_address(address).value
