"""Which configuration file the arguments mean, as mihomo finds it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.errors import ConfigError, Problem

if TYPE_CHECKING:
    import argparse

HOME: Final = Path("/etc/mihomo-tproxy")


def config_path(args: argparse.Namespace) -> Path:
    """`-f FILE`, relative to `-d DIR` when it is not found from here; else DIR/config.yaml.

    Raises:
        ConfigError: there is no such file, or it is a directory.
    """
    home = Path(args.directory) if args.directory else HOME
    named = Path(args.file) if args.file else home / "config.yaml"
    for path in (named, home / named):
        if path.is_file():
            return path.resolve()
    if args.file and named.is_dir():
        raise ConfigError([Problem("", f"{named} is a directory; name the file in it, or use -d")])
    raise ConfigError([Problem("", f"there is no configuration file {named}")])
