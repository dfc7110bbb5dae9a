"""`mihomo-tproxy provider`: what providers brought, how old it is, when it is renewed.

    mihomo-tproxy provider                  all of them, and the geo files that rules need
    mihomo-tproxy provider NAME             one, with all that is known
    mihomo-tproxy provider NAME --update    download it now

It reads the file of the gateway that runs here, and the files of the providers themselves.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from mihomo_tproxy.cli.govern import tell
from mihomo_tproxy.cli.running import running_config
from mihomo_tproxy.cli.table import bytes_text, render
from mihomo_tproxy.config.report import did_you_mean
from mihomo_tproxy.config.specs.provider import Vehicle
from mihomo_tproxy.errors import GatewayError
from mihomo_tproxy.geo.files import locate
from mihomo_tproxy.keeper.store import load_sources
from mihomo_tproxy.provider.userinfo import parse_userinfo

if TYPE_CHECKING:
    import argparse

    from mihomo_tproxy.config.schema import Config
    from mihomo_tproxy.config.specs.provider import ProviderSpec
    from mihomo_tproxy.keeper.store import SourceState

HOUR_S: Final = 3600
_AGES: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


@dataclass(frozen=True, slots=True)
class Entry:
    """One provider, or one geo file."""

    kind: str
    """`rule`, `proxy` or `geo`."""
    name: str
    type: str
    """`http`, `file` or `inline`."""
    count: int | None
    """Rules or proxies; None for what is not counted."""
    path: str
    size: int | None
    """Bytes; None without a file."""
    updated: float | None
    """Unix time the file was last found to be new, or still valid."""
    interval_s: int
    url: str
    subscription: dict[str, int]
    """Bytes and the end of a subscription, as its server tells; empty if it does not."""

    @property
    def next(self) -> float | None:
        """Unix time of the next download, if one is planned."""
        if self.type != Vehicle.HTTP or self.updated is None or not self.interval_s:
            return None
        return self.updated + self.interval_s


def provider(args: argparse.Namespace) -> int:
    """List providers, show one, or have it downloaded."""
    if args.update and not args.name:
        raise GatewayError("--update goes with a NAME")
    entries = collect(running_config())
    if not args.name:
        values = [_values(entry) for entry in entries]
        print(json.dumps(values) if args.json else table(entries, time.time()))
        return 0
    found = [entry for entry in entries if entry.name == args.name]
    if not found:
        near = did_you_mean(args.name, sorted({entry.name for entry in entries}))
        raise GatewayError(f"there is no provider {args.name!r}{near}")
    if args.update:
        return _update(args, found)
    if args.json:
        print(json.dumps([_values(entry) for entry in found]))
    else:
        print("\n\n".join(details(entry, time.time()) for entry in found))
    return 0


def _update(args: argparse.Namespace, found: list[Entry]) -> int:
    if all(entry.type != Vehicle.HTTP for entry in found):
        raise GatewayError(f"{args.name!r} is not downloaded: its type is {found[0].type}")
    changed = tell("update", name=args.name)["changed"]
    if args.json:
        print(json.dumps({"name": args.name, "changed": changed}))
    else:
        print(f"{args.name}: {'downloaded' if changed else 'has not changed'}")
    return 0


def collect(config: Config) -> list[Entry]:
    """The providers of a configuration and the geo files it needs."""
    states: dict[str, SourceState] = {}
    with suppress(OSError):  # root's, perhaps: then its users' numbers are not shown
        states = load_sources(config.home)
    found = [_provided(spec, "rule", spec.count, states) for spec in config.rule_providers]
    found += [
        _provided(spec, "proxy", len(spec.members), states) for spec in config.proxy_providers
    ]
    geo = config.geo
    urls = {
        "geoip": geo.geoip_url,
        "geosite": geo.geosite_url,
        "mmdb": geo.mmdb_url,
        "asn": geo.asn_url,
    }
    interval_s = geo.interval_h * HOUR_S if geo.auto_update else 0
    for kind in geo.needed:
        path, _ = locate(config.home, kind)
        size, updated = _stat(path)
        found.append(
            Entry("geo", kind, "http", None, path, size, updated, interval_s, urls[kind], {})
        )
    return found


def _provided(spec: ProviderSpec, kind: str, count: int, states: dict[str, SourceState]) -> Entry:
    state = states.get(f"{kind} provider {spec.name}")
    info = parse_userinfo(state.userinfo) if state else None
    size, updated = _stat(spec.path)
    return Entry(
        kind, spec.name, str(spec.vehicle), count, spec.path, size, updated, spec.interval_s,
        spec.url, asdict(info) if info else {},
    )  # fmt: skip


def _stat(path: str) -> tuple[int | None, float | None]:
    try:
        found = os.stat(path)
    except OSError:
        return None, None
    return found.st_size, found.st_mtime


def _values(entry: Entry) -> dict[str, Any]:
    return {**asdict(entry), "next": entry.next}


def table(entries: list[Entry], now: float) -> str:
    """The list for people."""
    rows = [
        [
            entry.kind, entry.name, entry.type,
            "-" if entry.count is None else entry.count,
            _size(entry), _age(entry, now), _due(entry, now), _used(entry),
        ]
        for entry in entries
    ]  # fmt: skip
    heads = ["kind", "name", "type", "entries", "size", "updated", "next", "used"]
    return render(heads, rows) if rows else "no providers, and no rule needs a geo file"


def details(entry: Entry, now: float) -> str:
    """One of them for people."""
    lines = [
        ("entries", entry.count),
        ("url", entry.url),
        ("file", entry.path),
        ("size", _size(entry)),
        ("updated", _age(entry, now)),
        ("next", _due(entry, now)),
        ("used", _used(entry)),
    ]
    said = [f"  {name:<8} {value}" for name, value in lines if value not in (None, "", "-")]
    return "\n".join([f"{entry.name}, {entry.kind} provider of type {entry.type}", *said])


def _size(entry: Entry) -> str:
    if entry.size is None:
        return "-" if entry.type == Vehicle.INLINE else "absent"
    return bytes_text(entry.size)


def _age(entry: Entry, now: float) -> str:
    return "-" if entry.updated is None else f"{span_text(now - entry.updated)} ago"


def _due(entry: Entry, now: float) -> str:
    if entry.next is None:
        return "-"
    return f"in {span_text(entry.next - now)}" if entry.next > now else "now"


def _used(entry: Entry) -> str:
    said = entry.subscription
    if not said:
        return "-"
    text = bytes_text(said["upload"] + said["download"])
    if said["total"]:
        text += f" of {bytes_text(said['total'])}"
    if said["expire"]:
        text += time.strftime(", until %Y-%m-%d", time.gmtime(min(said["expire"], 253402300799)))
    return text


def span_text(seconds: float) -> str:
    """A time span in its largest unit: `3 h`."""
    for size, unit in _AGES:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "0 s"
