"""The gateway that runs in this namespace, for commands that ask about it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mihomo_tproxy.config import load
from mihomo_tproxy.dataplane.instance import Instance
from mihomo_tproxy.errors import GatewayError

if TYPE_CHECKING:
    from mihomo_tproxy.config.schema import Config


def running_file() -> tuple[str, str] | None:
    """The file of the gateway that runs here and its home directory ("" for the file's own).

    Raises:
        GatewayError: only root can tell.
    """
    instance = Instance()
    if os.geteuid() != 0 and os.path.exists(instance.state_path):
        raise GatewayError("root is needed to ask the gateway that runs here: use sudo")
    if not instance.is_running():
        return None
    state = instance.read_state()
    path = state.get("config")
    return (str(path), str(state.get("home", ""))) if path else None


def running_config() -> Config:
    """The configuration of the gateway that runs here, as its file is now.

    Raises:
        GatewayError: none runs.
        ConfigError: the file has been broken since.
    """
    found = running_file()
    if found is None:
        raise GatewayError("no gateway runs in this network namespace")
    return load(*found)
