"""`uuid`."""

from __future__ import annotations

import pytest

from mihomo_tproxy.codec.user_id import parse_user_id
from mihomo_tproxy.config.proxies.user_id import read_user_id
from mihomo_tproxy.config.report import Report
from mihomo_tproxy.config.section import Section
from mihomo_tproxy.config.yaml import load_text

UUID = "b831381d-6324-4d53-ad4f-8cda48b30811"


def read(text: str) -> tuple[bytes, list[str], list[str]]:
    document = load_text(text)
    report = Report(document)
    found = read_user_id(Section(report, "", document.value))
    return found, [problem.message for problem in report.problems], report.warnings


@pytest.mark.parametrize("text", [UUID, "example", "x" * 30, "12345"])
def test_what_is_taken(text: str) -> None:
    assert read(f"uuid: {text}") == (parse_user_id(text), [], [])


def test_what_was_meant_to_be_one() -> None:
    text = UUID[:-1]
    warning = "line 1: uuid: not a UUID: its text is mapped to one"
    assert read(f"uuid: {text}") == (parse_user_id(text), [], [warning])


@pytest.mark.parametrize("text", ["{}", "uuid: ''", "uuid: null"])
def test_missing(text: str) -> None:
    assert read(text)[1] == ["'uuid' is missing"]
