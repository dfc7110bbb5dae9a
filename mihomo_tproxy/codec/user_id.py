"""User ids of VLESS and VMess: a UUID, or any other text, which is mapped to one.

The mapping is Xray's and mihomo's: the UUID of version 5 (RFC 9562) of the text in the namespace of
zeros. A UUID is written with hyphens or without, in braces or not, or after `urn:uuid:`.
"""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID, uuid5

_UUID: Final = re.compile(
    r"(?:urn:uuid:)?([0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.IGNORECASE
)
_NAMESPACE: Final = UUID(int=0)


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID as it stands."""
    return _UUID.fullmatch(_unbraced(text)) is not None


def parse_user_id(text: str) -> bytes:
    """The 16 bytes of a user id; every text has some."""
    found = _UUID.fullmatch(_unbraced(text))
    return UUID(found[1]).bytes if found else uuid5(_NAMESPACE, text).bytes


def _unbraced(text: str) -> str:
    return text[1:-1] if text[:1] == "{" and text[-1:] == "}" else text
