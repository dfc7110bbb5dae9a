"""The arguments of the commands that ask and govern a gateway; each imports itself when it runs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]
    Handler = Callable[[argparse.Namespace], int]

INBOUNDS: Final = ("tproxy", "mixed", "socks", "http")


def add_parsers(commands: Subparsers) -> None:
    """Adds the commands; `args.handler(args)` is the exit code."""

    def command(name: str, handler: Handler, text: str) -> argparse.ArgumentParser:
        parser = commands.add_parser(name, help=text, description=text)
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.set_defaults(handler=handler)
        return parser

    rule = command("rule", _rule, "which rule decides a flow, and where it goes")
    rule.add_argument("flow", metavar="FLOW", help="'tcp 192.168.1.5 -> example.com:443'")
    rule.add_argument("--inbound", choices=INBOUNDS, help="how it comes: steered, or to a port")
    rule.add_argument("--user", default="", help="who authenticated at the port")
    rule.add_argument("--resolved", metavar="ADDR", help="the address of the name")
    # What stands before the command counts as well: no default of its own.
    none = argparse.SUPPRESS
    rule.add_argument("-f", dest="file", metavar="FILE", default=none, help="configuration file")
    rule.add_argument("-d", dest="directory", metavar="DIR", default=none, help="home directory")
    group = command("group", _group, "groups: list them, show one, select a member")
    group.add_argument("group", metavar="GROUP", nargs="?", help="show this one")
    group.add_argument("member", metavar="MEMBER", nargs="?", help="and have it take this member")
    group.add_argument("--auto", action="store_true", help="url-test, fallback: choose again")
    mode = command("mode", _mode, "whether the rules decide, or everything goes one way")
    mode.add_argument("mode", metavar="MODE", nargs="?", help="rule, global or direct")
    command("reload", _reload, "read the configuration again; a file that fails changes nothing")
    delay = command("delay", _delay, "test a proxy or a group now")
    delay.add_argument("name", metavar="NAME", help="a proxy or a group")
    delay.add_argument("--url", default="", help="what to ask for through it")
    delay.add_argument("--timeout", metavar="MS", type=int, default=5000, help="5000")
    delay.add_argument("--members", action="store_true", help="every member of a group")
    provider = command("provider", _provider, "providers: list them, show one, download one now")
    provider.add_argument("name", metavar="NAME", nargs="?", help="show this one")
    provider.add_argument("--update", action="store_true", help="download it now")


def _rule(args: argparse.Namespace) -> int:
    from mihomo_tproxy.cli.rule import rule

    return rule(args)


def _group(args: argparse.Namespace) -> int:
    from mihomo_tproxy.cli.govern import group

    return group(args)


def _mode(args: argparse.Namespace) -> int:
    from mihomo_tproxy.cli.govern import mode

    return mode(args)


def _reload(args: argparse.Namespace) -> int:
    from mihomo_tproxy.cli.govern import reload

    return reload(args)


def _delay(args: argparse.Namespace) -> int:
    from mihomo_tproxy.cli.govern import delay

    return delay(args)


def _provider(args: argparse.Namespace) -> int:
    from mihomo_tproxy.cli.provider import provider

    return provider(args)
