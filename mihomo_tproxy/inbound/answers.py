"""What clients are told about their requests, in the words of their protocol.

A cause is what failures are counted under (`dial-refused`, `socks5-unreachable`, ...); its last
word decides. Codes: RFC 1928, 6; Ying-Da Lee's SOCKS 4 memo; RFC 9110, 15.
"""

from __future__ import annotations

from typing import Final

from mihomo_tproxy.codec import socks4, socks5

ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"
_SOCKS5_GRANTED: Final = socks5.encode_reply(socks5.SUCCEEDED)
_SOCKS4_GRANTED: Final = socks4.encode_reply(socks4.GRANTED)
_SOCKS4_REJECTED: Final = socks4.encode_reply(socks4.REJECTED)

_SOCKS5_CODES: Final = {
    "rejected": socks5.NOT_ALLOWED,
    "refused": socks5.CONNECTION_REFUSED,
    "timeout": socks5.TTL_EXPIRED,
    "unreachable": socks5.HOST_UNREACHABLE,
    "name": socks5.HOST_UNREACHABLE,
}
_STATUSES: Final = {
    "rejected": (403, "Forbidden"),
    "timeout": (504, "Gateway Timeout"),
    "limit": (503, "Service Unavailable"),
    "descriptor": (503, "Service Unavailable"),
    "memory": (503, "Service Unavailable"),
}
_BAD_GATEWAY: Final = (502, "Bad Gateway")


def _last_word(cause: str) -> str:
    return cause.rpartition("-")[2]


def http_response(status: int, reason: str, text: str, fields: str = "") -> bytes:
    """A whole response that ends the connection."""
    return (
        f"HTTP/1.1 {status} {reason}\r\n{fields}Content-Type: text/plain\r\n"
        f"Content-Length: {len(text) + 1}\r\nConnection: close\r\n\r\n{text}\n"
    ).encode("latin-1")


def http_refusal(cause: str) -> bytes:
    """The response to a request that failed for a cause on the way to its destination."""
    status, reason = _STATUSES.get(_last_word(cause), _BAD_GATEWAY)
    return http_response(status, reason, cause)


def http_error(cause: str) -> bytes:
    """The response to a request that is wrong itself."""
    if cause == "http-auth-failed":
        return AUTHENTICATE
    if cause == "http-head-too-large":
        return http_response(431, "Request Header Fields Too Large", cause)
    return http_response(400, "Bad Request", cause)


AUTHENTICATE: Final = http_response(
    407,
    "Proxy Authentication Required",
    "http-auth-failed",
    'Proxy-Authenticate: Basic realm="mihomo-tproxy", charset="UTF-8"\r\n',
)


class Socks5Answer:
    """To CONNECT."""

    __slots__ = ("early",)

    def __init__(self, early: bytes) -> None:
        self.early = early

    def accepted(self) -> bytes:
        """Succeeded; the bound address stays unsaid."""
        return _SOCKS5_GRANTED

    def refused(self, cause: str) -> bytes:
        """The reply code nearest to the cause."""
        return socks5.encode_reply(_SOCKS5_CODES.get(_last_word(cause), socks5.GENERAL_FAILURE))


class Socks4Answer:
    """To CONNECT."""

    __slots__ = ("early",)

    def __init__(self, early: bytes) -> None:
        self.early = early

    def accepted(self) -> bytes:
        """Granted."""
        return _SOCKS4_GRANTED

    def refused(self, cause: str) -> bytes:
        """Rejected or failed, which is all the protocol can say."""
        return _SOCKS4_REJECTED


class ConnectAnswer:
    """To HTTP's CONNECT."""

    __slots__ = ("early",)

    def __init__(self, early: bytes) -> None:
        self.early = early

    def accepted(self) -> bytes:
        """200."""
        return ESTABLISHED

    def refused(self, cause: str) -> bytes:
        """403, 502, 503 or 504, and the cause as text."""
        return http_refusal(cause)


class PlainAnswer:
    """To a plain HTTP request: the response comes from the server, or says why there is none."""

    __slots__ = ()

    early: bytes = b""

    def accepted(self) -> bytes:
        """Nothing."""
        return b""

    def refused(self, cause: str) -> bytes:
        """403, 502, 503 or 504, and the cause as text."""
        return http_refusal(cause)
