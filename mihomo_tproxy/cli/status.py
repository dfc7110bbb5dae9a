"""`mihomo-tproxy status`: what went where, from the pinned maps, whether or not the daemon runs."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any, Final

from mihomo_tproxy.cli.table import bytes_text, render
from mihomo_tproxy.dataplane.abi import CLIENT_ROUTES, Route, Settings
from mihomo_tproxy.dataplane.instance import Instance
from mihomo_tproxy.dataplane.links import check_privileges
from mihomo_tproxy.dataplane.stats import read_clients, read_routes, read_workers
from mihomo_tproxy.dataplane.tables import open_map
from mihomo_tproxy.errors import DataplaneError

if TYPE_CHECKING:
    import argparse

ROUTE_TEXT: Final = {
    Route.KERNEL: "kernel (direct)",
    Route.RELAY: "relay",
    Route.DROP: "dropped by rule",
    Route.OPEN: "no relay: forwarded",
    Route.CLOSED: "no relay: dropped",
    Route.BYPASS: "never steered",
    Route.DOWN_KERNEL: "to clients, kernel",
    Route.DOWN_RELAY: "to clients, relay",
    Route.OWN: "to the gateway",
    Route.DOWN_OWN: "to clients, gateway",
    Route.OTHER: "not TCP or UDP",
    Route.MALFORMED: "malformed",
}
MOST_CLIENTS: Final = 64
WATCH_S: Final = 1.0


def status(args: argparse.Namespace) -> int:
    """Print the counters, once or until interrupted."""
    check_privileges()
    while True:
        report = collect(Instance())
        if args.json:
            print(json.dumps(report))
        else:
            if args.watch:
                print("\033[H\033[2J", end="")
            print(text(report), flush=True)
        if not args.watch:
            return 0
        time.sleep(WATCH_S)


def collect(instance: Instance) -> dict[str, Any]:
    """Everything `status` shows, as values.

    Raises:
        DataplaneError: no gateway runs or ran in this namespace.
    """
    if not os.path.exists(instance.pins):
        raise DataplaneError("no gateway runs in this network namespace, and none left anything")
    state = instance.read_state()
    settings = Settings.unpack((open_map(instance.pins, "settings").lookup(bytes(4)) or [b""])[0])
    routes = read_routes(open_map(instance.pins, "totals"))
    clients = read_clients(open_map(instance.pins, "client_stats"))
    workers = read_workers(open_map(instance.pins, "worker_stats"))
    return {
        "running": instance.is_running(),
        "pid": state.get("pid"),
        "config": state.get("config"),
        "uptime_s": round(time.time() - state["started"], 1) if "started" in state else None,
        "lan": state.get("lan", []),
        "mark": settings.mark,
        "table": state.get("table"),
        "generation": settings.generation,
        "routes": {route.name.lower(): count._asdict() for route, count in routes.items()},
        "clients": [
            {
                "address": client.address,
                "idle_s": round((time.monotonic_ns() - client.seen_ns) / 1e9, 1),
                **{r.name.lower(): client.routes[r]._asdict() for r in list(Route)[:CLIENT_ROUTES]},
            }
            for client in clients[:MOST_CLIENTS]
        ],
        "workers": {str(number): counters for number, counters in sorted(workers.items())},
    }


def text(report: dict[str, Any]) -> str:
    """The report for people."""
    state = f"running (pid {report['pid']})" if report["running"] else "NOT RUNNING"
    lines = [
        f"gateway {state}, {', '.join(report['lan']) or 'no interface'} steered, "
        f"generation {report['generation']}, mark {report['mark']:#x}, table {report['table']}",
        "",
        _routes_table(report),
    ]
    if report["clients"]:
        lines += ["", _clients_table(report)]
    for number, counters in report["workers"].items():
        lines += ["", f"worker {number}: {_worker_line(counters)}"]
        targets = _targets_table(counters)
        if targets:
            lines.append(targets)
        errors = {n.removeprefix("error:"): v for n, v in counters.items() if n.startswith("error")}
        if errors:
            lines.append("errors: " + ", ".join(f"{n} {v}" for n, v in sorted(errors.items())))
    return "\n".join(lines)


def _routes_table(report: dict[str, Any]) -> str:
    rows = [
        [ROUTE_TEXT[Route[name.upper()]], c["flows"], c["packets"], bytes_text(c["bytes"])]
        for name, c in report["routes"].items()
        if c["packets"]
    ]
    return render(["route", "new flows", "packets", "bytes"], rows)


def _clients_table(report: dict[str, Any]) -> str:
    rows = [
        [
            client["address"],
            client["kernel"]["flows"],
            client["relay"]["flows"],
            client["drop"]["flows"] + client["closed"]["flows"],
            bytes_text(client["kernel"]["bytes"] + client["open"]["bytes"]),
            bytes_text(client["down_kernel"]["bytes"]),
            bytes_text(client["relay"]["bytes"]),
            bytes_text(client["down_relay"]["bytes"]),
        ]
        for client in report["clients"]
    ]
    heads = ["client", "flows kernel", "relay", "blocked", "up kernel", "down", "up relay", "down"]
    return render(heads, rows)


def _worker_line(counters: dict[str, int]) -> str:
    return (
        f"{counters.get('tcp-live', 0)} TCP and {counters.get('udp-live', 0)} UDP flows, "
        f"{bytes_text(counters.get('spliced-bytes', 0))} spliced, "
        f"{counters.get('verdicts-learnt', 0)} verdicts learnt, "
        f"{counters.get('gc-collections', 0)} garbage collections, the longest "
        f"{counters.get('gc-longest-us', 0) / 1000:.3f} ms"
    )


def _targets_table(counters: dict[str, int]) -> str:
    names = [name.removeprefix("opened:") for name in counters if name.startswith("opened:")]
    rows = [
        [
            name,
            counters[f"opened:{name}"],
            counters.get(f"closed:{name}", 0),
            bytes_text(counters.get(f"up-bytes:{name}", 0)),
            bytes_text(counters.get(f"down-bytes:{name}", 0)),
        ]
        for name in sorted(names)
        if counters[f"opened:{name}"] and not name.endswith(":")  # not yet at any target
    ]
    return render(["target", "opened", "closed", "up", "down"], rows) if rows else ""
