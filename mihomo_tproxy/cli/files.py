"""Which configuration file the arguments mean, as mihomo finds it."""

from __future__ import annotations

import os
from typing import Final

from mihomo_tproxy.errors import ConfigError, Problem

HOME: Final = "/etc/mihomo-tproxy"


def config_path(file: str | None, directory: str | None) -> str:
    """`-f FILE`, relative to `-d DIR` when it is not found from here; else DIR/config.yaml.

    Raises:
        ConfigError: there is no such file, or it is a directory.
    """
    home = directory or HOME
    named = file or os.path.join(home, "config.yaml")
    for path in (named, os.path.join(home, named)):
        if os.path.isfile(path):
            return os.path.realpath(path)
    if file and os.path.isdir(named):
        raise ConfigError([Problem("", f"{named} is a directory; name the file in it, or use -d")])
    raise ConfigError([Problem("", f"there is no configuration file {named}")])
