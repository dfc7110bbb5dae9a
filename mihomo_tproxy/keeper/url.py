"""http and https URLs taken apart (RFC 3986), for what the keeper fetches itself.

Invariant: what comes out can go into a request as it is: host and target are printable ASCII
without spaces, so that no URL of a file, and no Location of a server, adds a line to a request.
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Final, NamedTuple

PORTS: Final = {"http": 80, "https": 443}
MAX_URL: Final = 8192
_SPLIT: Final = re.compile(r"(https?)://([^/?#]*)([^#]*)", re.IGNORECASE)
_AUTHORITY: Final = re.compile(r"(?:(.*)@)?(\[[0-9a-f:.]+\]|[^:\[\]@]+)(?::(\d{0,5}))?", re.I)
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_UNSAFE: Final = re.compile(rb"[^\x21-\x7e]|[\"<>\\^`{|}]")
_ESCAPED: Final = re.compile(rb"%([0-9a-fA-F]{2})")


class Url(NamedTuple):
    """Where a request goes, and what it asks for."""

    scheme: str
    host: str
    """Lower-case name, or IP literal without brackets."""
    port: int
    target: str
    """Path and query."""
    authorization: str = ""
    """The value of that header, of `user:password@`; "" without."""

    @property
    def host_header(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host_header}{self.target}"


def parse_url(text: str) -> Url:
    """An absolute URL.

    Raises:
        ValueError: it is none, or not of HTTP; the text says what is wrong.
    """
    if len(text) > MAX_URL:
        raise ValueError(f"a URL has at most {MAX_URL} characters")
    found = _SPLIT.match(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no http or https URL")
    scheme = found[1].lower()
    authority = _AUTHORITY.fullmatch(found[2])
    if authority is None:
        raise ValueError(f"{text!r} names no host")
    port = int(authority[3]) if authority[3] else PORTS[scheme]
    if not 0 < port < 65536:
        raise ValueError(f"{text!r} has no valid port")
    target = _escape(found[3])
    if not target.startswith("/"):
        target = f"/{target}"
    return Url(scheme, _host(authority[2]), port, target, _authorization(authority[1]))


def follow(base: Url, location: str) -> Url:
    """The URL a reference leads to, relative ones taken from `base` (RFC 3986, 5.2).

    Raises:
        ValueError: it leads to nothing HTTP can fetch.
    """
    location = location.strip()
    if _SCHEME.match(location):
        return parse_url(location)
    if location.startswith("//"):
        return parse_url(f"{base.scheme}:{location}")
    reference, path = _escape(location.partition("#")[0]), base.target.partition("?")[0]
    if not reference:
        return base
    if reference.startswith("?"):
        return base._replace(target=path + reference)
    if not reference.startswith("/"):
        reference = path[: path.rindex("/") + 1] + reference
    if len(reference) > MAX_URL:
        raise ValueError(f"a URL has at most {MAX_URL} characters")
    return base._replace(target=_without_dots(reference))


def _host(text: str) -> str:
    host = text.strip("[]").lower()
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError:
            raise ValueError(f"{text!r} is no host name") from None
    if not re.fullmatch(r"[a-z0-9._:-]{1,253}", host):
        raise ValueError(f"{text!r} is no host name")
    return host


def _escape(text: str) -> str:
    """What may not stand in a request, percent-encoded; what is encoded already stays."""
    data = text.encode("utf-8", "surrogatepass")
    return _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], data).decode("ascii")


def _authorization(user: str | None) -> str:
    if not user:
        return ""
    plain = _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), user.encode())
    if b":" not in plain:
        plain += b":"
    return f"Basic {b64encode(plain).decode()}"


def _without_dots(target: str) -> str:
    """RFC 3986, 5.2.4."""
    path, mark, query = target.partition("?")
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept) + mark + query
