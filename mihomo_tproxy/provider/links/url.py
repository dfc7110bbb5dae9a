"""Share links as URLs, taken apart as the clients they were made for do it (RFC 3986, loosely).

Links are written by panels and by hand, so what counts is what mihomo's parser makes of them: a
fragment begins at the first `#`, a query at the first `?`, user info ends at the last `@`; a bad
escape spoils the link, except within the query, where it costs one pair.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from typing import Final, NamedTuple
from urllib.parse import quote, unquote, unquote_plus

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_USER: Final = re.compile(r"[A-Za-z0-9._:~!$&'()*+,;=%@-]*\Z")
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:\[\]<>\"-]|%[89A-Fa-f][0-9A-Fa-f])*\Z")
_PORT: Final = re.compile(r":[0-9]*\Z")
_STANDARD: Final = re.compile(r"[A-Za-z0-9+/]*(={0,2})\Z")
_URL_SAFE: Final = re.compile(r"[A-Za-z0-9_-]*\Z")
_USER_SAFE: Final = "-_.~$&+,;="
"""Characters that user info holds without an escape, when Go writes it."""


class Url(NamedTuple):
    """A link; escapes are undone in everything but `query`."""

    username: str
    password: str | None
    """None without a colon in the user info."""
    authority: str
    """Host and port as one."""
    query: dict[str, str]
    """The first value of each key."""
    fragment: str

    @property
    def host(self) -> str:
        """The host, without brackets."""
        host = self.authority[: len(self.authority) - len(_port_part(self.authority))]
        if host.startswith("[") and host.endswith("]"):
            return host[1:-1]
        return host

    @property
    def port(self) -> str:
        """The digits after the last colon, "" when there are none."""
        return _port_part(self.authority)[1:]

    @property
    def user_info(self) -> str:
        """User name and password, written with escapes again."""
        user = quote(self.username, safe=_USER_SAFE)
        if self.password is None:
            return user
        return f"{user}:{quote(self.password, safe=_USER_SAFE)}"


def parse_url(text: str) -> Url:
    """The parts of `scheme://user@host:port/path?query#fragment`.

    Raises:
        ValueError: it is no URL.
    """
    if _CONTROL.search(text):
        raise ValueError("a control character")
    text, _, fragment = text.partition("#")
    text, _, query = text.partition("?")
    authority, _, path = text.partition("://")[2].partition("/")
    _unescape(path)
    user_info, mark, host = authority.rpartition("@")
    if not _USER.match(user_info):
        raise ValueError("a bad character in the user info")
    username, colon, password = user_info.partition(":")
    return Url(
        _unescape(username),
        _unescape(password) if mark and colon else None,
        _authority(host),
        parse_query(query),
        _unescape(fragment),
    )


def parse_query(text: str) -> dict[str, str]:
    """The first value of each key; pairs with a bad escape or a semicolon are left out."""
    values: dict[str, str] = {}
    for pair in text.split("&"):
        if not pair or ";" in pair or _BAD_ESCAPE.search(pair):
            continue
        key, _, value = pair.partition("=")
        values.setdefault(unquote_plus(key), unquote_plus(value))
    return values


def decode_base64(text: str) -> str:
    """The text behind standard base64, padded or not; line ends within are skipped.

    Raises:
        ValueError: it is not that.
    """
    text = text.replace("\r", "").replace("\n", "")
    matched = _STANDARD.match(text)
    if matched is None:
        raise ValueError("not base64")
    if matched[1] and len(text) % 4:
        raise ValueError("not base64: bad padding")
    return _decoded(text.rstrip("="))


def decode_raw_base64(text: str) -> str:
    """Standard base64 without padding. ValueError if it is not that."""
    if "=" in text:
        raise ValueError("not base64 without padding")
    return decode_base64(text)


def decode_url_base64(text: str) -> str:
    """URL-safe base64 without padding (RFC 4648, 5). ValueError if it is not that."""
    if not _URL_SAFE.match(text):
        raise ValueError("not URL-safe base64")
    return _decoded(text, b"-_")


def _decoded(text: str, altchars: bytes | None = None) -> str:
    try:
        return b64decode(text + "=" * (-len(text) % 4), altchars).decode("utf-8", "replace")
    except Base64Error as error:
        raise ValueError(f"not base64: {error}") from None


def _unescape(text: str) -> str:
    if _BAD_ESCAPE.search(text):
        raise ValueError("a bad escape")
    return unquote(text)


def _authority(text: str) -> str:
    if not _HOST.match(text):
        raise ValueError("a bad character in the host")
    if text.startswith("["):
        end = text.rfind("]")
        if end < 0:
            raise ValueError("a bracket that is not closed")
        port = text[end + 1 :]
    else:
        port = text[text.rfind(":") :] if ":" in text else ""
    if port and not _PORT.match(port):
        raise ValueError("a bad port")
    return unquote(text)


def _port_part(authority: str) -> str:
    place = authority.rfind(":")
    part = authority[place:] if place >= 0 else ""
    return part if _PORT.match(part) else ""
