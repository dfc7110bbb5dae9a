"""The demonstration's output, from rows as they are for programs."""

from __future__ import annotations

import json

import pytest

from mihomo_tproxy.cli import demo
from mihomo_tproxy.dataplane.abi import Count, Route
from mihomo_tproxy.demo.demonstration import Row

GOOD = Row(
    title="first flow", client="client0", source="192.168.77.10", destination="198.51.100.200",
    port=80, family=4, network="tcp", rule="MATCH,DIRECT", target="DIRECT", way="splice",
    expected="splice", counted="197.8 MB spliced", answer="data", received=200_000_000,
    mbit_per_s=5508.4, latency_ms=6.568, ok=True,
)  # fmt: skip
BAD = Row(**GOOD.as_dict() | {"way": "relay", "mbit_per_s": None, "ok": False})


def test_a_row_for_people():
    head, row, *_ = demo.table([GOOD]).splitlines()
    assert head.startswith("client   destination")
    for part in ("198.51.100.200 :80", "MATCH,DIRECT", "splice", "197.8 MB", "5508", "6.568", "ok"):
        assert part in row


def test_what_went_wrong_is_said():
    text = demo.table([GOOD, BAD])
    assert "WRONG: splice expected" in text
    assert text.endswith("1 of 2 flows went as the rules say")


@pytest.mark.parametrize(("rows", "ok"), [([GOOD], True), ([GOOD, BAD], False)])
def test_rows_for_programs(rows, ok):
    value = json.loads(json.dumps(demo.summary(rows)))
    assert value["ok"] is ok
    assert value["flows"][0]["destination"] == "198.51.100.200"


def test_a_second_in_one_line():
    routes = dict.fromkeys(Route, Count(0, 0, 0))
    routes |= {Route.KERNEL: Count(9, 1024, 4), Route.DOWN_KERNEL: Count(9, 3072, 0)}
    text = demo.line(routes, 2.0, {"tcp-live": 3, "verdicts-learnt": 5})
    assert text.startswith("kernel 2 flows/s 2.0 KiB/s | relay 0 flows/s 0 B/s | 3 TCP 0 UDP")
    assert text.endswith("5 verdicts learnt")
