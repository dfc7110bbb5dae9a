"""Problems and warnings carry the line of their path."""

from __future__ import annotations

import pytest

from mihomo_tproxy.config import parse
from mihomo_tproxy.config.report import MAX_PROBLEMS, MAX_WARNINGS, Report, did_you_mean
from mihomo_tproxy.config.yaml import load_text
from mihomo_tproxy.errors import ConfigError, Problem


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


def test_nobody_reads_on_after_so_many_problems() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("rules:\n" + "- DOMAINX,a.test,DIRECT\n" * 1000 + "mixed-port: x\n")
    found = [str(problem) for problem in caught.value.problems]
    assert len(found) == MAX_PROBLEMS + 1
    assert found[0].startswith("line 2: rules[0]: unknown rule kind")
    assert found[-1] == "that is enough: what follows was not looked at"


def test_further_warnings_are_counted() -> None:
    config = parse("".join(f"odd-{number}: 1\n" for number in range(MAX_WARNINGS + 7)))
    assert len(config.warnings) == MAX_WARNINGS + 1
    assert config.warnings[-1] == "7 more warnings like these"


def test_problems_of_a_strangers_entry_end_nothing() -> None:
    report = Report(load_text("a: 1"), foreign=True)
    for _ in range(2 * MAX_PROBLEMS):
        report.problem("a", "odd")
    assert len(report.problems) == MAX_PROBLEMS


def test_problems_keep_to_their_line() -> None:
    problem = Problem("a\nb", f"odd\x1b[2J {'x' * 2000}", 3)
    assert str(problem).startswith("line 3: a\\nb: odd\\x1b[2J xx")
    assert len(str(problem)) < 1010
