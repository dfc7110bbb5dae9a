"""The rig's fixtures for the namespace tests, whether or not the package is installed."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

PLUGIN = "mihomo_tproxy.rig.pytest_plugin"


def pytest_configure(config: pytest.Config) -> None:
    """Loads the plugin unless the installed package's entry point has done so."""
    module = importlib.import_module(PLUGIN)
    if not config.pluginmanager.is_registered(module):
        config.pluginmanager.register(module, PLUGIN)
