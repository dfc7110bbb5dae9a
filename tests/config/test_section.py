"""Weak typing: what mihomo takes for a number, a text, a boolean."""

from __future__ import annotations

import pytest

from mihomo_tproxy.config.report import Report
from mihomo_tproxy.config.section import Section, describe
from mihomo_tproxy.config.yaml import load_text
from mihomo_tproxy.model.enums import TunnelMode


def section(text: str) -> Section:
    document = load_text(text)
    return Section(Report(document), "", document.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("443", 443), ("'443'", 443), ("0x1bb", 443), ("'0x1bb'", 443), ("1e3", 1000), ("' 7 '", 7)],
)
def test_integer(text: str, value: int) -> None:
    found = section(f"k: {text}")
    assert found.integer("k", 0, 0, 65535) == value
    assert found.report.problems == []


@pytest.mark.parametrize("text", ["true", "'true'", "yes", "on", "1", "True", "Y"])
def test_true(text: str) -> None:
    assert section(f"k: {text}").boolean("k", False) is True


@pytest.mark.parametrize("text", ["false", "'FALSE'", "no", "off", "0", "n"])
def test_false(text: str) -> None:
    assert section(f"k: {text}").boolean("k", True) is False


@pytest.mark.parametrize(("text", "value"), [("5", "5"), ("true", "true"), ("1.5", "1.5")])
def test_text(text: str, value: str) -> None:
    assert section(f"k: {text}").text("k") == value


def test_absent_and_null_are_the_default() -> None:
    for found in (section("{}"), section("k:")):
        assert found.integer("k", 5, 0, 9) == 5
        assert found.boolean("k", True) is True
        assert found.text("k", "x") == "x"
        assert found.choice("k", TunnelMode.DIRECT) is TunnelMode.DIRECT
        assert list(found.texts("k")) == []
        assert found.report.problems == []


def test_a_wrong_value_is_reported_and_the_default_stands_in() -> None:
    found = section("k: {}")
    assert found.integer("k", 5, 0, 9) == 5
    assert found.boolean("k", True) is True
    assert found.text("k", "x") == "x"
    assert found.choice("k", TunnelMode.DIRECT) is TunnelMode.DIRECT
    assert list(found.values("k")) == []
    assert [problem.path for problem in found.report.problems] == ["k"] * 5


def test_texts_report_what_is_none() -> None:
    found = section("k: [a, [b], 3]")
    assert list(found.texts("k")) == [("k[0]", "a"), ("k[2]", "3")]
    assert [problem.path for problem in found.report.problems] == ["k[1]"]


def test_long_values_are_cut_in_messages() -> None:
    assert len(describe("x" * 1000)) < 80
