"""Problems and warnings carry the line of their path."""

from __future__ import annotations

from mihomo_tproxy.config.report import Report, did_you_mean
from mihomo_tproxy.config.yaml import load_text
from mihomo_tproxy.errors import Problem


def test_lines_are_found() -> None:
    report = Report(load_text("a: 1\nb:\n  - 2\n"))
    report.problem("b[0]", "wrong")
    report.warning("b", "odd")
    report.general_warning("all of it")
    assert report.problems == [Problem("b[0]", "wrong", 3)]
    assert report.warnings == ["line 2: b: odd", "all of it"]


def test_did_you_mean() -> None:
    assert did_you_mean("mod", ["mode", "dns"]) == ", did you mean 'mode'?"
    assert did_you_mean("zzz", ["mode", "dns"]) == ""
