"""One HTTP/1.1 connection (RFC 9112, parsed by h11) over an outbound's stream.

    h11 --- [TLS to the target] --- the outbound's layers --- socket on the reactor

Bodies go piece by piece to whoever asked, as they arrive; nothing is collected here.

Invariants: a head is at most h11's 16 KiB; each phase has its timeout (connect, head, silence);
whoever waits is told exactly once, and after `close` nothing is left of the connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import h11

from mihomo_tproxy.errors import FetchFailed
from mihomo_tproxy.outbound.stream import Stream

if TYPE_CHECKING:
    import asyncio

    from mihomo_tproxy.codec.layer import Buffer
    from mihomo_tproxy.net.relay import RelayContext
    from mihomo_tproxy.outbound.base import Route

INFORMATIONAL_LIMIT: Final = 8
"""Interim answers (100, 103) before the real one."""


class Response(NamedTuple):
    """The head of an answer."""

    status: int
    headers: dict[str, str]
    """Names in lower case; of several of one name the last."""


class Receiver(Protocol):
    """Who an answer is for. What either call raises as FetchFailed ends the connection."""

    def on_head(self, response: Response) -> bool:
        """The head is here; whether the body is wanted."""

    def on_data(self, data: bytes) -> None:
        """A piece of the body."""


class HeadOnly:
    """Wants no body: of HEAD there is none, of others it is not read."""

    def on_head(self, response: Response) -> bool:
        """Whatever it says."""
        return True

    def on_data(self, data: bytes) -> None:
        """A body where none belongs."""
        raise FetchFailed("http-broken", "a body where none belongs")


class PhaseTimeouts(NamedTuple):
    """Seconds."""

    connect: float = 15.0
    """Until payload can be sent, all handshakes together."""
    head: float = 20.0
    """From the request to the end of the answer's head."""
    idle: float = 20.0
    """Between two pieces of a body."""


class Connection:
    """A connection of our own; requests follow one another."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        context: RelayContext,
        route: Route,
        timeouts: PhaseTimeouts,
    ) -> None:
        self._loop = loop
        self._timeouts = timeouts
        self._http = h11.Connection(h11.CLIENT)
        self._stream = Stream(context, route, self)
        self._waiting: asyncio.Future[Response] | None = None
        self._receiver: Receiver | None = None
        self._response: Response | None = None
        self._interim = 0
        self._closed = False
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Dial, and shake hands with everybody on the way.

        Raises:
            FetchFailed: it could not be done.
        """
        self._wait(self._timeouts.connect)
        self._stream.open()
        await self._finished()

    async def request(self, request: h11.Request, receiver: Receiver) -> Response:
        """Send a request without a body, give the answer to the receiver; its head.

        Raises:
            FetchFailed: no answer, a broken one, one too slow, or what the receiver raised.
        """
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        if self._closed or self._http.our_state is not h11.IDLE:
            raise FetchFailed("http-closed", "the server ended the connection")
        self._receiver, self._response, self._interim = receiver, None, 0
        self._wait(self._timeouts.head)
        head = self._http.send(request) or b""
        self._stream.send(head + (self._http.send(h11.EndOfMessage()) or b""))
        return await self._finished()

    def close(self) -> None:
        """Let go of everything."""
        self._closed = True
        self._stream.close()
        self._receiver = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def on_ready(self) -> None:
        """The way to the server is open."""
        self._resolve(Response(0, {}))

    def on_payload(self, data: Buffer) -> None:
        """Bytes of the server: of an answer that is waited for, or the end of everything."""
        if self._receiver is None:
            self._fail(FetchFailed("http-broken", "the server speaks without being asked"))
        else:
            self._take(data)

    def on_end(self, cause: str) -> None:
        """The stream is over: the end of a body that has no other, or a failure."""
        if cause:
            self._fail(FetchFailed(cause, cause.replace("-", " ")))
        elif self._response is None:
            self._fail(FetchFailed("http-closed", "the server ended without an answer"))
        else:
            self._take(b"")

    def _take(self, data: Buffer) -> None:
        try:
            self._http.receive_data(data)  # type: ignore[arg-type] # copies any buffer
            while self._advance(self._http.next_event()):
                pass
        except h11.RemoteProtocolError as error:
            self._fail(FetchFailed("http-broken", str(error)))
        except FetchFailed as error:
            self._fail(error)

    def _advance(self, event: object) -> bool:
        """Whether to look for another event."""
        receiver = self._receiver
        if receiver is None:
            return False
        if isinstance(event, h11.Data):
            self._due = self._loop.time() + self._timeouts.idle
            receiver.on_data(bytes(event.data))
        elif isinstance(event, h11.InformationalResponse):
            self._interim += 1
            if self._interim > INFORMATIONAL_LIMIT:
                raise FetchFailed("http-broken", "interim answers without end")
        elif isinstance(event, h11.Response):
            self._due = self._loop.time() + self._timeouts.idle
            headers = {
                name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers
            }
            self._response = Response(event.status_code, headers)
            if not receiver.on_head(self._response):
                self._resolve(self._response)
                return False
        elif isinstance(event, h11.EndOfMessage):
            if self._response is not None:
                self._resolve(self._response)
            return False
        else:
            return False  # nothing more for now
        return True

    # Who waits, and for how long.

    def _wait(self, seconds: float) -> None:
        self._waiting = self._loop.create_future()
        self._due = self._loop.time() + seconds
        if self._timer is not None and self._timer.when() > self._due:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        """The timer runs on its own; `_due` moves without it being touched."""
        left = self._due - self._loop.time()
        self._timer = None
        if self._waiting is None:
            return
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        else:
            self._fail(FetchFailed("http-timeout", "no answer in time"))

    async def _finished(self) -> Response:
        waiting = self._waiting
        assert waiting is not None  # noqa: S101 (made by the caller)
        try:
            return await waiting
        finally:
            self._waiting = None

    def _resolve(self, response: Response) -> None:
        self._receiver = None
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(response)

    def _fail(self, error: FetchFailed) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)
        self.close()
