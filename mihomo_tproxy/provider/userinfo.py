"""`Subscription-Userinfo`: what a subscription has used, as panels send it with the download.

`upload=1234; download=2234; total=1024000; expire=2218532293`: bytes, and seconds since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

MAX_HEADER: Final = 1024
_MAX_DIGITS: Final = 19
_KEYS: Final = ("upload", "download", "total", "expire")


@dataclass(frozen=True, slots=True)
class UserInfo:
    """Bytes sent and received, those allowed, and when it ends (Unix time); 0 for not said."""

    upload: int = 0
    download: int = 0
    total: int = 0
    expire: int = 0


def parse_userinfo(header: str) -> UserInfo | None:
    """The values of a header; None if it holds none, or one that is no number."""
    info = UserInfo()
    for field in header[:MAX_HEADER].lower().replace(" ", "").split(";"):
        key, _, value = field.partition("=")
        if key not in _KEYS or (key == "expire" and not value):
            continue
        if not value.isascii() or not value.isdigit() or len(value) > _MAX_DIGITS:
            return None
        info = replace(info, **{key: int(value)})
    return None if info == UserInfo() else info
