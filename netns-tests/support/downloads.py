"""Downloads that are of no use, and what is held against them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mihomo_tproxy.errors import GatewayError

if TYPE_CHECKING:
    from pathlib import Path

    from support.governed import Governed
    from support.webserver import Web

SIZE_LIMIT = 200_000

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "empty": ({}, "of no use"),
    "corrupt": ({"body": b"\x00\xff{{{ nothing: [" * 20}, "of no use"),
    "a page": ({"body": b"<html><body>Sign in</body></html>"}, "of no use"),
    "404": ({"status": 404}, "the server answered 404"),
    "500": ({"status": 500}, "the server answered 500"),
    "oversized": ({"body": b"#" * (SIZE_LIMIT + 1)}, "larger than the limit"),
    "endless": ({"endless": True}, "larger than the limit"),
    "cut off": ({"headers": {"Content-Length": "100000"}, "cut": True}, "without sending"),
    "in circles": ({"status": 302, "headers": {"Location": "/round"}}, "more than 10 redirects"),
    "elsewhere": ({"status": 302, "headers": {"Location": "file:///etc/passwd"}}, "URL"),
    "no gzip": ({"body": b"plain", "headers": {"Content-Encoding": "gzip"}}, "gzip"),
}
"""What is answered, and a part of the reason that is told."""

every_bad = pytest.mark.parametrize("kind", BAD)


def assert_refused(
    gateway: Governed, web: Web, path: str, name: str, file: Path, kind: str
) -> None:
    """Such an answer leaves the file as it is, and the reason is told and logged."""
    answer, reason = BAD[kind]
    before = good, _ = file.read_bytes(), file.stat().st_ino
    web.put(path, good)
    gateway.ask("update", name=name)
    web.put(path, **answer)
    web.put("/round", status=302, headers={"Location": path})
    seen = len(gateway.output)
    with pytest.raises(GatewayError, match=reason):
        gateway.ask("update", name=name)
    assert (file.read_bytes(), file.stat().st_ino) == before
    assert not file.with_name(f"{file.name}.download").exists()
    said = gateway.output[seen:]
    assert f"provider {name}: download failed, the last good file stays: " in said
    assert reason in said
