"""One URL test through one outbound, timed as mihomo times it.

HEAD over a fresh connection, handshakes included; no redirect is followed. With `unified-delay` a
second HEAD on the same connection is timed in place of the first; a server that wants only one gets
away with it.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

from mihomo_tproxy.errors import FetchFailed
from mihomo_tproxy.keeper.connection import HeadOnly, PhaseTimeouts
from mihomo_tproxy.keeper.url import parse_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from mihomo_tproxy.keeper.http import Client
    from mihomo_tproxy.outbound.base import Outbound

LONGEST_MS: Final = 65534
"""mihomo counts in 16 bits; the last number says that there is none."""


class Result(NamedTuple):
    """What a test found."""

    delay_ms: int
    """At least 1; 0 without an answer."""
    status: int
    """Of the answer, 0 without one."""
    cause: str = ""
    """Why there is none, as `FetchFailed` names it."""


async def probe(
    client: Client,
    outbound: Outbound,
    url: str,
    timeout_s: float,
    *,
    unified: bool,
    clock: Callable[[], float] = monotonic,
) -> Result:
    """Test an outbound; a failure is a result as well. `clock` is in seconds."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _measure(client, outbound, url, timeout_s, unified, clock)
    except TimeoutError:
        return Result(0, 0, "http-timeout")
    except FetchFailed as error:
        return Result(0, 0, error.cause)


async def _measure(
    client: Client,
    outbound: Outbound,
    text: str,
    timeout_s: float,
    unified: bool,
    clock: Callable[[], float],
) -> Result:
    try:
        url = parse_url(text)
    except ValueError as error:
        raise FetchFailed("http-url", str(error)) from None
    head, nobody = client.request("HEAD", url), HeadOnly()
    started = clock()
    connection = client.connect(url, outbound, PhaseTimeouts(timeout_s, timeout_s, timeout_s))
    try:
        await connection.open()
        response = await connection.request(head, nobody)
        ended = clock()
        if unified:
            try:
                response = await connection.request(head, nobody)
            except FetchFailed:
                pass  # the first counts
            else:
                started, ended = ended, clock()
    finally:
        connection.close()
    delay = round((ended - started) * 1000)
    return Result(min(max(delay, 1), LONGEST_MS), response.status)
