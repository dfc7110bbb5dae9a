"""`mihomo-tproxy group`, `mode`, `reload`, `delay`: talk to the gateway that runs here.

mihomo-tproxy group                     every group and what it chose
mihomo-tproxy group GROUP               its members
mihomo-tproxy group GROUP MEMBER        select one; --auto lets url-test and fallback choose again
mihomo-tproxy mode [rule|global|direct] show or switch
mihomo-tproxy reload                    read the configuration again
mihomo-tproxy delay NAME                test a proxy, or who a group chose; --members: all of them
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from mihomo_tproxy.cli.table import render
from mihomo_tproxy.control import ask
from mihomo_tproxy.dataplane.instance import Instance
from mihomo_tproxy.errors import GatewayError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection

BALANCE: Final = "load-balance"


def tell(command: str, **arguments: Any) -> dict[str, Any]:
    """What the gateway of this namespace answers to a command.

    Raises:
        GatewayError: there is none, or it answers with an error.
    """
    return ask(Instance().control_path, {"command": command, **arguments})


def find(report: dict[str, Any], name: str) -> dict[str, Any]:
    """The group of this name, of what `groups` answers.

    Raises:
        GatewayError: there is none; with the nearest one that there is.
    """
    groups: list[dict[str, Any]] = report["groups"]
    for group in groups:
        if group["name"] == name:
            return group
    raise GatewayError(f"there is no group {name!r}{_near(name, [g['name'] for g in groups])}")


def group(args: argparse.Namespace) -> int:
    """List groups, show one, or select a member."""
    if args.auto and (args.member or not args.group):
        raise GatewayError("--auto goes with a GROUP, and without a MEMBER")
    report = tell("groups")
    if not args.group:
        shown = [group for group in report["groups"] if args.json or not group["hidden"]]
        print(json.dumps(report) if args.json else groups_text(shown, report["delays"]))
        return 0
    chosen = find(report, args.group)
    if args.member or args.auto:
        return _select(args, chosen)
    delays = {name: report["delays"].get(name) for name in chosen["members"]}
    print(
        json.dumps({**chosen, "delays": delays}) if args.json else members_text(chosen, delays),
    )
    return 0


def _select(args: argparse.Namespace, group: dict[str, Any]) -> int:
    member = args.member or ""
    if member and member not in group["members"]:
        near = _near(member, group["members"])
        raise GatewayError(f"{group['name']!r} has no member {member!r}{near}")
    tell("select", group=group["name"], member=member)
    now = member or find(tell("groups"), group["name"])["now"]
    if args.json:
        print(json.dumps({"group": group["name"], "now": now}))
    else:
        print(f"{group['name']}: {now}" if member else f"{group['name']} chooses again: {now}")
    return 0


def mode(args: argparse.Namespace) -> int:
    """Show the mode, or switch."""
    result = tell("mode", mode=args.mode) if args.mode else tell("groups")
    print(json.dumps({"mode": result["mode"]}) if args.json else result["mode"])
    return 0


def reload(args: argparse.Namespace) -> int:
    """Have the configuration read again."""
    rules = tell("reload")["rules"]
    print(json.dumps({"rules": rules}) if args.json else f"reloaded: {rules} rules")
    return 0


def delay(args: argparse.Namespace) -> int:
    """Test a proxy or a group."""
    report = tell("groups")
    if args.members:
        tested = find(report, args.name)
        delays = tell("check-group", name=tested["name"])["delays"]
        print(json.dumps(delays) if args.json else members_text(tested, delays))
        return 0
    known = {group["name"] for group in report["groups"]}
    known.update(*(group["members"] for group in report["groups"]))
    if args.name not in known:
        raise GatewayError(f"there is no proxy or group {args.name!r}{_near(args.name, known)}")
    result = tell("check", name=args.name, url=args.url, timeout=args.timeout)
    print(json.dumps(result) if args.json else f"{args.name}: {delay_text(result['delay'])}")
    return 0


def groups_text(groups: list[dict[str, Any]], delays: dict[str, int]) -> str:
    """The list of groups for people."""
    rows = [
        [
            group["name"],
            group["type"],
            "(flow by flow)" if group["type"] == BALANCE else group["now"],
            delay_text(delays.get(group["now"] or "")),
            len(group["members"]),
            len(group["dead"]),
        ]
        for group in groups
    ]
    return render(["group", "type", "takes", "delay", "members", "dead"], rows)


def members_text(group: dict[str, Any], delays: dict[str, int | None]) -> str:
    """One group for people."""
    dead = set(group["dead"])
    rows = [
        [
            "*" if member == group["now"] else "",
            member,
            "dead" if member in dead else delay_text(delays.get(member)),
        ]
        for member in dict.fromkeys(group["members"])
    ]
    head = f"{group['name']}, {group['type']}"
    return f"{head}\n{render(['', 'member', 'delay'], rows)}"


def delay_text(delay: int | None) -> str:
    """A delay in milliseconds; 0 is a test that failed, None one that was not made."""
    if delay is None:
        return "-"
    return f"{delay} ms" if delay else "failed"


def _near(word: str, known: Collection[str]) -> str:
    # Only on the way to an error.
    from mihomo_tproxy.config.report import did_you_mean

    return did_you_mean(word, sorted(known))
