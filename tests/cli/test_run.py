"""Log lines look as mihomo's do."""

from __future__ import annotations

import logging
import sys

from mihomo_tproxy.cli.run import MihomoFormatter


def record(message, *args, exc_info=None):
    made = logging.LogRecord("worker", logging.WARNING, "x.py", 1, message, args, exc_info)
    made.created = 1_700_000_000.0
    return MihomoFormatter().format(made)


def test_a_line():
    assert record("%d rules", 3) == (
        'time="2023-11-14T22:13:20Z" level=warning msg="[worker] 3 rules"'
    )


def test_quotes_and_backslashes_are_escaped():
    assert record('a "b" \\').endswith('msg="[worker] a \\"b\\" \\\\"')


def test_an_exception_follows():
    try:
        raise ValueError("odd")
    except ValueError:
        text = record("failed", exc_info=sys.exc_info())
    assert text.splitlines()[0].endswith('failed"')
    assert text.splitlines()[-1] == "ValueError: odd"


def test_what_a_stranger_wrote_keeps_to_its_line():
    assert record("proxy %s", 'a\n"\x1b[2J').endswith(r'proxy a\n\"\x1b[2J"')
