"""One download: asked for only if it changed, validated, and then put in the old file's place.

Invariant: whatever the server sends, the last good file stays until a better one is on the disk.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, NamedTuple

from mihomo_tproxy.errors import FetchFailed
from mihomo_tproxy.keeper.files import Draft, digest_of
from mihomo_tproxy.keeper.http import Limits
from mihomo_tproxy.keeper.store import SourceState
from mihomo_tproxy.keeper.validate import validate_apart

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mihomo_tproxy.keeper.connection import Response
    from mihomo_tproxy.keeper.http import Client, FindOutbound
    from mihomo_tproxy.keeper.sources import Source
    from mihomo_tproxy.keeper.validate import Job

    Validate = Callable[[Job], Awaitable[int]]


class Downloaded(NamedTuple):
    """How a download ended."""

    state: SourceState
    """What the server says about the file now."""
    changed: bool
    """Whether there is another file than before."""


async def download(
    client: Client,
    find: FindOutbound,
    source: Source,
    state: SourceState,
    validate: Validate = validate_apart,
) -> Downloaded:
    """Bring a source's file up to date.

    Args:
        client: who asks.
        find: through which outbound.
        source: what to get, and where it belongs.
        state: what the server said the last time.
        validate: raises a ValueError for a file that is of no use.

    Raises:
        FetchFailed: it did not come, or it is of no use. The old file is as it was.
    """
    old = await asyncio.to_thread(digest_of, source.path)
    known = old and state.url == source.url and state.digest == old
    headers = (*(_conditions(state) if known else ()), *source.headers)
    try:
        with Draft(source.path) as draft:
            limits = Limits(size=source.size_limit)
            response = await client.fetch(source.url, find, draft.write, headers, limits)
            if response.status == 304 and known:
                os.utime(source.path)
                userinfo = response.headers.get("subscription-userinfo", state.userinfo)
                return Downloaded(state._replace(userinfo=userinfo), changed=False)
            if response.status != 200:
                raise FetchFailed("http-status", f"the server answered {response.status}")
            changed = draft.digest != old
            if changed:
                await asyncio.to_thread(draft.sync)
                await validate(source.job._replace(path=draft.path))
                await asyncio.to_thread(draft.put_in_place)
            else:
                os.utime(source.path)
            return Downloaded(_state_of(source, response, draft.digest), changed)
    except OSError as error:
        raise FetchFailed("file", f"{error.filename or source.path}: {error.strerror}") from None
    except ValueError as error:
        raise FetchFailed("content", f"what came is of no use: {error}") from None


def _conditions(state: SourceState) -> list[tuple[str, str]]:
    """RFC 9110, 13.1."""
    if state.etag:
        return [("If-None-Match", state.etag)]
    return [("If-Modified-Since", state.modified)] if state.modified else []


def _state_of(source: Source, response: Response, digest: str) -> SourceState:
    headers = response.headers
    return SourceState(
        source.url,
        headers.get("etag", ""),
        headers.get("last-modified", ""),
        digest,
        headers.get("subscription-userinfo", ""),
    )
