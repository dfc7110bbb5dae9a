"""A small HTTP client (RFC 9110) whose connections leave through outbounds.

For downloads and health checks: GET and HEAD, one connection per request, redirects, gzip. No
cookies, no cache, no proxies of its own.

Invariants: a body has at most `Limits.size` bytes, on the wire and unpacked; nothing of it is
collected in memory; all of a fetch, redirects included, ends within `Limits.total_s`. Credentials
of the URL and of the caller's headers do not follow a redirect to another host.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

import h11

from mihomo_tproxy.errors import FetchFailed, ProtocolError
from mihomo_tproxy.keeper.connection import Connection, PhaseTimeouts, Response
from mihomo_tproxy.keeper.url import follow, parse_url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from mihomo_tproxy.keeper.url import Url
    from mihomo_tproxy.net.relay import RelayContext
    from mihomo_tproxy.outbound.base import Outbound
    from mihomo_tproxy.transport.tls import TlsClient

    FindOutbound = Callable[[str, int], Awaitable[Outbound]]
    """Who carries a connection to a host and port. May raise FetchFailed."""

USER_AGENT: Final = "clash.meta/v1.19.32"
"""mihomo's: servers of subscriptions look at it to choose a format."""
REDIRECTS: Final = 10
PIECE: Final = 1 << 18
"""Most bytes unpacked at a time."""
_MOVED: Final = frozenset({301, 302, 303, 307, 308})
_PRIVATE: Final = frozenset({"authorization", "cookie"})


class Limits(NamedTuple):
    """What a fetch may take."""

    size: int = 64 << 20
    """Bytes of the body."""
    total_s: float = 300.0
    phases: PhaseTimeouts = PhaseTimeouts()


class Client:
    """The connections of one event loop."""

    def __init__(self, context: RelayContext, user_agent: str = USER_AGENT) -> None:
        self._context = context
        self.user_agent = user_agent
        self._anchor: TlsClient | None = None

    def connect(self, url: Url, outbound: Outbound, phases: PhaseTimeouts) -> Connection:
        """A connection to the host of a URL, not open yet.

        Raises:
            FetchFailed: the outbound leads nowhere.
        """
        try:
            route = outbound.route(url.host, url.port)
        except ProtocolError as error:
            raise FetchFailed(error.cause, str(error)) from None
        if url.scheme == "https":
            try:
                route.layers.append(self._tls(url.host).layer())
            except ValueError as error:
                raise FetchFailed("http-url", f"{url.host!r} is no name for TLS: {error}") from None
        return Connection(asyncio.get_running_loop(), self._context, route, phases)

    def request(
        self, method: str, url: Url, headers: Iterable[tuple[str, str]] = ()
    ) -> h11.Request:
        """A request; the caller's headers replace our own.

        Raises:
            FetchFailed: a header that cannot be sent.
        """
        own = {"Host": url.host_header, "User-Agent": self.user_agent}
        if url.authorization:
            own["Authorization"] = url.authorization
        named = list(headers)
        given = {name.lower() for name, _ in named}
        kept = [(name, value) for name, value in own.items() if name.lower() not in given]
        try:
            encoded = [(name.encode(), value.encode()) for name, value in (*kept, *named)]
            return h11.Request(method=method, target=url.target, headers=encoded)
        except (h11.LocalProtocolError, UnicodeError) as error:
            raise FetchFailed("http-header", f"a header that cannot be sent: {error}") from None

    async def fetch(
        self,
        url: str,
        find: FindOutbound,
        write: Callable[[bytes], object],
        headers: tuple[tuple[str, str], ...] = (),
        limits: Limits | None = None,
    ) -> Response:
        """GET a URL; the body of a 200 goes to `write`, that of another status is not read.

        Raises:
            FetchFailed: whatever went wrong, `write`'s OSError included; a status is no failure.
        """
        limits = limits or Limits()
        try:
            async with asyncio.timeout(limits.total_s):
                return await self._follow(url, find, write, headers, limits)
        except TimeoutError:
            message = f"not finished within {limits.total_s:g} s"
            raise FetchFailed("http-timeout", message) from None

    async def _follow(
        self,
        text: str,
        find: FindOutbound,
        write: Callable[[bytes], object],
        headers: tuple[tuple[str, str], ...],
        limits: Limits,
    ) -> Response:
        try:
            url = parse_url(text)
            for _ in range(REDIRECTS + 1):
                response = await self._get(url, find, write, headers, limits)
                location = response.headers.get("location")
                if response.status not in _MOVED or location is None:
                    return response
                target = follow(url, location)
                if (target.host, target.port) != (url.host, url.port):
                    headers = tuple(each for each in headers if each[0].lower() not in _PRIVATE)
                url = target
        except ValueError as error:
            raise FetchFailed("http-url", str(error)) from None
        raise FetchFailed("http-redirects", f"more than {REDIRECTS} redirects")

    async def _get(
        self,
        url: Url,
        find: FindOutbound,
        write: Callable[[bytes], object],
        headers: tuple[tuple[str, str], ...],
        limits: Limits,
    ) -> Response:
        request = self.request("GET", url, (("Accept-Encoding", "gzip"), *headers))
        body = Body(write, limits.size)
        outbound = await find(url.host, url.port)
        connection = self.connect(url, outbound, limits.phases)
        try:
            await connection.open()
            response = await connection.request(request, body)
        finally:
            connection.close()
        body.end()
        return response

    def _tls(self, host: str) -> TlsClient:
        # OpenSSL is megabytes: only for those who need it.
        from mihomo_tproxy.config.specs.tls import TlsSpec
        from mihomo_tproxy.transport.tls import TlsClient

        alpn = ("http/1.1",)
        if self._anchor is None:
            # One that stays keeps the authorities loaded for all that come and go.
            self._anchor = TlsClient(TlsSpec(alpn=alpn))
        return TlsClient(TlsSpec(server_name=host, alpn=alpn))


class Body:
    """The body of a 200: unpacked, counted, handed on."""

    def __init__(self, write: Callable[[bytes], object], limit: int) -> None:
        self._write = write
        self._limit = limit
        self._packed = self._unpacked = 0
        self._zip: zlib._Decompress | None = None
        self._gzip = self._open = False

    def on_head(self, response: Response) -> bool:
        """Whether the body is wanted.

        Raises:
            FetchFailed: it is announced as too large, or packed in a way nobody asked for.
        """
        if response.status != 200:
            return False
        coding = response.headers.get("content-encoding", "identity").strip().lower()
        if coding not in ("gzip", "x-gzip", "identity", ""):
            raise FetchFailed("http-encoding", "a content encoding nobody asked for")
        self._gzip = coding.endswith("gzip")
        self._open = self._gzip
        length = response.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._limit:
            raise self._too_large()
        return True

    def on_data(self, data: bytes) -> None:
        """A piece, as it came.

        Raises:
            FetchFailed: too much, no gzip, or it cannot be written.
        """
        self._packed += len(data)
        if self._packed > self._limit:
            raise self._too_large()
        if not self._gzip:
            self._put(data)
            return
        try:
            self._unpack(data)
        except zlib.error as error:
            raise FetchFailed("http-encoding", f"broken gzip: {error}") from None

    def end(self) -> None:
        """Nothing follows.

        Raises:
            FetchFailed: in the middle of something packed.
        """
        if self._open:
            raise FetchFailed("http-encoding", "gzip without its end")

    def _unpack(self, data: bytes) -> None:
        while data:
            if self._zip is None:
                self._zip = zlib.decompressobj(16 + zlib.MAX_WBITS)
                self._open = True
            self._put(self._zip.decompress(data, PIECE))
            if self._zip.eof:
                data, self._zip, self._open = self._zip.unused_data, None, False
            else:
                data = self._zip.unconsumed_tail

    def _put(self, data: bytes) -> None:
        self._unpacked += len(data)
        if self._unpacked > self._limit:
            raise self._too_large()
        try:
            self._write(data)
        except OSError as error:
            raise FetchFailed("http-write", f"cannot be written: {error.strerror}") from None

    def _too_large(self) -> FetchFailed:
        return FetchFailed("http-too-large", f"larger than the limit of {self._limit} bytes")
