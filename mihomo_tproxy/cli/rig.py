"""`mihomo-tproxy rig`: network namespaces from a YAML topology, to test and to try things in.

    mihomo-tproxy rig up FILE                  builds it and returns; it stays until taken down
    mihomo-tproxy rig exec RIG NODE -- CMD...  runs a command in a node
    mihomo-tproxy rig list                     the rigs of this host
    mihomo-tproxy rig down RIG                 takes it down, with every program in it
    mihomo-tproxy rig down --orphans           takes down what dead test runs have left

RIG is a rig's name or the file it was built from; the file's format is in
`mihomo_tproxy/rig/topology.py`, the built-in servers are in `mihomo_tproxy/rig/serving.py`.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from mihomo_tproxy.errors import RigError

if TYPE_CHECKING:
    from mihomo_tproxy.rig import Rig

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_parser(subparsers: Subparsers) -> None:
    """Adds `rig` and its actions; `args.handler(args)` is the exit code."""
    parser = subparsers.add_parser("rig", help="network namespaces for tests through a gateway")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    up = actions.add_parser("up", help="build a topology; it stays until taken down")
    up.add_argument("file", metavar="FILE", type=Path, help="YAML topology")
    up.set_defaults(handler=_up)

    execute = actions.add_parser("exec", help="run a command in a node")
    execute.add_argument("rig", metavar="RIG", help="name, or the file it was built from")
    execute.add_argument("node", metavar="NODE", help="gateway, internet, client0, ...")
    execute.add_argument("command", metavar="CMD", nargs=argparse.REMAINDER)
    execute.set_defaults(handler=_exec)

    down = actions.add_parser("down", help="take a rig down")
    down.add_argument("rig", metavar="RIG", nargs="?", help="name, or the file it was built from")
    down.add_argument(
        "--orphans", action="store_true", help="every rig whose owner has died instead"
    )
    down.set_defaults(handler=_down)

    listing = actions.add_parser("list", help="the rigs of this host")
    listing.set_defaults(handler=_list)


def _up(args: argparse.Namespace) -> int:
    from mihomo_tproxy.rig import Rig

    rig = Rig.from_file(args.file)
    rig.up(persistent=True)
    if rig.topology.servers:
        try:
            _ = rig.servers
        except RigError:
            rig.down()
            raise
    _print_nodes(rig)
    return 0


def _print_nodes(rig: Rig) -> None:
    print(f"rig {rig.name} is up")
    for node in rig.nodes.values():
        addresses = "  ".join(node.plan.address.values())
        print(f"  {node.name:<10} {node.netns:<18} {addresses}")
    print(f"  destinations on internet: {rig.destination(1)} ... {rig.destination(254)}")
    print(f"  {rig.destination(1, 6)} ... {rig.destination(254, 6)}")


def _exec(args: argparse.Namespace) -> int:
    from mihomo_tproxy.rig import host, state

    namespaces = state.named(_name(args.rig)).namespaces
    netns = namespaces.get(args.node)
    if netns is None:
        raise RigError(f"no node {args.node}; there are {', '.join(namespaces)}")
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    if not command:
        raise RigError("no command to run: rig exec RIG NODE -- CMD...")
    host.require_host()
    os.execvp("nsenter", ["nsenter", f"--net={host.netns_path(netns)}", "--", *command])  # noqa: S606


def _down(args: argparse.Namespace) -> int:
    from mihomo_tproxy.rig import host, state

    if args.orphans == (args.rig is not None):
        raise RigError("rig down takes a rig, or --orphans")
    host.require_host()
    if args.orphans:
        results = state.clean_orphans()
    else:
        found = state.named(_name(args.rig))
        results = {found.name: state.clean(found)}
    problems = [f"rig {name}: {problem}" for name, all_ in results.items() for problem in all_]
    if problems:
        raise RigError("\n".join(problems))
    for name in results:
        print(f"rig {name} is down")
    return 0


def _list(_args: argparse.Namespace) -> int:
    from mihomo_tproxy.rig import state

    for found in state.all_states():
        holder = f"held by process {found.owner}" if found.owner else "stays until taken down"
        if found.orphaned:
            holder = "orphaned: its owner has died"
        print(f"{found.name}  {holder}")
        for node, netns in found.namespaces.items():
            print(f"  {node:<10} {netns}")
    return 0


def _name(rig: str) -> str:
    """The name of a rig that was given by name or by file."""
    path = Path(rig)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        from mihomo_tproxy.rig.topology import load_topology

        return load_topology(path).name or path.stem
    return rig
