"""`mihomo-tproxy demo`: the gateway at work in namespaces of this machine.

A table of what went where, then a line each second until Ctrl-C. Nothing of the machine's own
network is touched. With `--json` standard output carries JSON alone, the rest goes to stderr.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import time
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.cli.table import bytes_text, render
from mihomo_tproxy.dataplane.abi import Route
from mihomo_tproxy.dataplane.links import check_privileges
from mihomo_tproxy.demo.counters import difference
from mihomo_tproxy.demo.demonstration import Demonstration
from mihomo_tproxy.demo.scenario import CONFIG

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from types import FrameType

    from mihomo_tproxy.demo.counters import Routes
    from mihomo_tproxy.demo.demonstration import Row

LINE_S: Final = 1.0
HEADS: Final = (
    "client", "destination", "net", "rule", "what", "way", "counted", "answer",
    "Mbit/s", "latency ms", "",
)  # fmt: skip
ENDINGS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def demo(args: argparse.Namespace) -> int:
    """0 when every flow went as it should; the traffic goes on until then with a status line."""
    check_privileges()
    for number in ENDINGS:
        signal.signal(number, _end)
    say = sys.stderr if args.json else sys.stdout
    print("building a LAN of namespaces and starting the gateway in it:", file=say)
    print("\n" + "\n".join("  " + line for line in CONFIG.splitlines()), file=say, flush=True)
    with Demonstration() as demonstration:
        rows = demonstration.run()
        if args.json:
            print(json.dumps(summary(rows)), flush=True)
        else:
            print("\n" + table(rows), flush=True)
        if not args.once:
            _watch(demonstration)
        _ignore_endings()
    return 0 if all(row.ok for row in rows) else 1


def _end(_number: int, _frame: FrameType | None) -> None:
    """The first signal ends the demonstration in order; further ones must not disturb that."""
    _ignore_endings()
    raise KeyboardInterrupt


def _ignore_endings() -> None:
    for number in ENDINGS:
        # Not SIG_IGN: a signal that is on its way already would be reported with a traceback.
        signal.signal(number, lambda _number, _frame: None)


def summary(rows: Sequence[Row]) -> dict[str, object]:
    """The rows as values, and whether all went well."""
    return {"ok": all(row.ok for row in rows), "flows": [row.as_dict() for row in rows]}


def table(rows: Sequence[Row]) -> str:
    """The rows for people."""
    cells = [
        (
            row.client,
            f"{row.destination} :{row.port}",
            row.network,
            row.rule,
            row.title,
            row.way,
            row.counted,
            row.answer,
            "" if row.mbit_per_s is None else f"{row.mbit_per_s:6.0f}",
            "" if row.latency_ms is None else f"{row.latency_ms:8.3f}",
            "ok" if row.ok else f"WRONG: {row.expected} expected",
        )
        for row in rows
    ]
    good = sum(row.ok for row in rows)
    return f"{render(HEADS, cells)}\n\n{good} of {len(rows)} flows went as the rules say"


def _watch(demonstration: Demonstration) -> None:
    """A status line each second, until interrupted."""
    try:
        _show(demonstration)
    except KeyboardInterrupt:
        print("\nremoving everything", file=sys.stderr)


def _show(demonstration: Demonstration) -> None:
    tty = sys.stderr.isatty()
    start, end = ("\r\033[K", "") if tty else ("", "\n")
    demonstration.start_traffic()
    print(
        "\nlight traffic goes on; Ctrl-C ends it and removes everything. Meanwhile, elsewhere:\n"
        f"  nsenter --net=/run/netns/{demonstration.gateway_netns} "
        f"{sys.executable} -m mihomo_tproxy status\n",
        file=sys.stderr,
    )
    counters = demonstration.counters
    before, then = counters.totals(), time.monotonic()
    while True:
        time.sleep(LINE_S)
        demonstration.check()
        after, now = counters.totals(), time.monotonic()
        text = line(difference(after, before), now - then, counters.workers())
        if tty:  # a line that wraps cannot be written over
            text = text[: shutil.get_terminal_size().columns - 1]
        print(f"{start}{text}", end=end, file=sys.stderr, flush=True)
        before, then = after, now


def line(routes: Routes, seconds: float, workers: dict[str, int]) -> str:
    """One second in one line."""

    def rate(way: str, up: Route, down: Route) -> str:
        flows = routes[up].flows / seconds
        amount = (routes[up].bytes + routes[down].bytes) / seconds
        return f"{way} {flows:.0f} flows/s {bytes_text(amount)}/s"

    return " | ".join(
        (
            rate("kernel", Route.KERNEL, Route.DOWN_KERNEL),
            rate("relay", Route.RELAY, Route.DOWN_RELAY),
            f"{workers.get('tcp-live', 0)} TCP {workers.get('udp-live', 0)} UDP alive",
            f"{bytes_text(workers.get('spliced-bytes', 0))} spliced so far",
            f"{workers.get('verdicts-learnt', 0)} verdicts learnt",
        )
    )
