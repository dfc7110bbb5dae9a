"""`uuid`, as VLESS and VMess have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.codec.user_id import is_uuid, parse_user_id

if TYPE_CHECKING:
    from mihomo_tproxy.config.section import Section

MAX_MAPPED_BYTES: Final = 30
"""The longest text that Xray maps; a longer one is more likely a UUID with a slip in it."""


def read_user_id(section: Section) -> bytes:
    """The 16 bytes of an entry's `uuid`; what is wrong is reported."""
    text = section.text("uuid")
    if not text:
        section.report.problem(section.path, "'uuid' is missing")
    elif len(text.encode()) > MAX_MAPPED_BYTES and not is_uuid(text):
        section.report.warning(section.where("uuid"), "not a UUID: its text is mapped to one")
    return parse_user_id(text)
