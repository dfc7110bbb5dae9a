"""The command `mihomo-tproxy`: arguments in, exit code out. No logic lives here.

mihomo's own flags work too: `-t -f FILE` checks, `-f FILE -d DIR` alone runs, `-v` prints the
version. Subcommands import what they need when they run, so that the gateway's process stays small.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from mihomo_tproxy import __version__
from mihomo_tproxy.errors import ConfigError, GatewayError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence


class _Files(NamedTuple):
    """The arguments of `run`, as argparse would give them."""

    file: str | None
    directory: str | None


def _run(args: argparse.Namespace | _Files) -> int:
    from mihomo_tproxy.cli.run import run

    return run(args.file, args.directory)


def _check(args: argparse.Namespace) -> int:
    from mihomo_tproxy.cli.check import check

    return check(args)


def _doctor(args: argparse.Namespace) -> int:
    from mihomo_tproxy.cli.doctor import doctor

    return doctor(args)


def _status(args: argparse.Namespace) -> int:
    from mihomo_tproxy.cli.status import status

    return status(args)


def _cleanup(_args: argparse.Namespace) -> int:
    from mihomo_tproxy.cli.cleanup import cleanup

    return cleanup()


def _demo(args: argparse.Namespace) -> int:
    from mihomo_tproxy.cli.demo import demo

    return demo(args)


def _add_files(parser: argparse.ArgumentParser, *, again: bool = False) -> None:
    """`again`: in a subcommand, where what stands before the subcommand counts as well."""
    import argparse

    default = argparse.SUPPRESS if again else None
    parser.add_argument(
        "-f",
        dest="file",
        metavar="FILE",
        default=default,
        help="configuration file (DIR/config.yaml)",
    )
    parser.add_argument(
        "-d",
        dest="directory",
        metavar="DIR",
        default=default,
        help="home directory (/etc/mihomo-tproxy)",
    )


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    import argparse

    from mihomo_tproxy.cli import parsers, rig

    parser = argparse.ArgumentParser(
        prog="mihomo-tproxy", description="Transparent proxy gateway; reads mihomo's configuration."
    )
    parser.add_argument("-v", "--version", action="version", version=f"mihomo-tproxy {__version__}")
    parser.add_argument("-t", dest="test", action="store_true", help="check the configuration only")
    _add_files(parser)
    parser.set_defaults(handler=_run)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def command(
        name: str, handler: Callable[[argparse.Namespace], int], text: str
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(handler=handler)
        return sub

    _add_files(command("run", _run, "run the gateway"), again=True)
    checking = command("check", _check, "check a configuration file and say everything wrong")
    _add_files(checking, again=True)
    doctor = command("doctor", _doctor, "what this machine has of what a gateway needs")
    doctor.add_argument("--json", action="store_true", help="print JSON")
    status = command("status", _status, "counters, flows by verdict and by LAN client")
    status.add_argument("--json", action="store_true", help="print JSON")
    status.add_argument("-w", dest="watch", action="store_true", help="again every second")
    command("cleanup", _cleanup, "remove everything a dead instance left in this namespace")
    demo = command("demo", _demo, "show the gateway at work, in namespaces of this machine")
    demo.add_argument("--once", action="store_true", help="end after the table")
    demo.add_argument("--json", action="store_true", help="print the table as JSON")
    parsers.add_parsers(commands)
    rig.add_parser(commands)
    return parser


def _plain_run(given: list[str]) -> _Files | None:
    """The arguments of `run` when they are all pairs like `-f FILE`; None leaves them to argparse.

    The gateway's processes never get rid of argparse once it is imported: 0.6 MB.
    """
    words = given[1:] if given[:1] == ["run"] else given
    options = dict(zip(words[::2], words[1::2], strict=False))
    plain = len(words) == 2 * len(options) and options.keys() <= {"-f", "-d"}
    if not plain or any(value.startswith("-") for value in options.values()):
        return None
    return _Files(options.get("-f"), options.get("-d"))


def _listing(error: ConfigError) -> str:
    """One problem as a sentence, several below each other."""
    problems = [str(problem) for problem in error.problems]
    if len(problems) == 1:
        return problems[0]
    return "\n  ".join([f"the configuration has {len(problems)} errors:", *problems])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code. 0 fine, 1 failed, 2 bad usage or configuration, 3 datapath,
    4 worker, 5 rig, 130 interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        files = _plain_run(given)
        if files is not None:
            return _run(files)
        args = build_parser().parse_args(given)
        handler: Callable[[argparse.Namespace], int] = _check if args.test else args.handler
        return handler(args)
    except ConfigError as error:
        print(f"mihomo-tproxy: {_listing(error)}", file=sys.stderr)
        return error.exit_code
    except GatewayError as error:
        print(f"mihomo-tproxy: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        return 1
    except OSError as error:
        print(f"mihomo-tproxy: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
