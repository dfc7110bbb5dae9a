"""`Subscription-Userinfo`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis.strategies import text

from mihomo_tproxy.provider.userinfo import UserInfo, parse_userinfo


def test_values() -> None:
    header = "upload=1; Download=22;total=333 ; expire=2218532293"
    assert parse_userinfo(header) == UserInfo(1, 22, 333, 2218532293)


def test_some_are_left_out() -> None:
    assert parse_userinfo("total=5; other=x; expire=") == UserInfo(total=5)


@pytest.mark.parametrize(
    "header", ["", "nothing", "upload=x", "upload=-1", "total=²", "total=" + "9" * 20]
)
def test_none(header: str) -> None:
    assert parse_userinfo(header) is None


@given(text())
def test_nothing_escapes(header: str) -> None:
    info = parse_userinfo(header)
    assert info is None or info != UserInfo()
