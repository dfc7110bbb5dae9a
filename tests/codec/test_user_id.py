"""User ids. The mapped ones are `xray uuid -i`'s, as its documentation and tests show them."""

from __future__ import annotations

from uuid import UUID

import pytest

from mihomo_tproxy.codec.user_id import is_uuid, parse_user_id

CANONICAL = "b831381d-6324-4d53-ad4f-8cda48b30811"


@pytest.mark.parametrize(
    "text",
    [
        CANONICAL,
        CANONICAL.upper(),
        CANONICAL.replace("-", ""),
        f"{{{CANONICAL}}}",
        f"{{{CANONICAL.replace('-', '')}}}",
        f"urn:uuid:{CANONICAL}",
    ],
)
def test_a_uuid_is_itself(text: str) -> None:
    assert is_uuid(text)
    assert parse_user_id(text) == UUID(CANONICAL).bytes


@pytest.mark.parametrize(
    ("text", "mapped"),
    [
        ("example", "feb54431-301b-52bb-a6dd-e1e93e81bb9e"),
        ("我爱🍉老师1314", "5783a3e7-e373-51cd-8642-c83782b807c5"),
    ],
)
def test_any_other_text_is_mapped(text: str, mapped: str) -> None:
    assert not is_uuid(text)
    assert parse_user_id(text) == UUID(mapped).bytes


@pytest.mark.parametrize(
    "text", [CANONICAL[:-1], CANONICAL[:-1] + "g", CANONICAL.replace("-", "", 1), ""]
)
def test_what_only_looks_like_one(text: str) -> None:
    assert not is_uuid(text)
    assert UUID(bytes=parse_user_id(text)).version == 5
