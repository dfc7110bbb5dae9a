"""The rig's fixtures for the namespace tests, and the table of the interoperability tests."""

from __future__ import annotations

import importlib
import sys

import pytest

PLUGIN = "mihomo_tproxy.rig.pytest_plugin"


def pytest_addoption(parser: pytest.Parser) -> None:
    """What stands in the gateway in the interoperability tests."""
    parser.addoption("--client", choices=["ours", "mihomo"], default="ours")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the tables of the interoperability and the differential tests, if any were run."""
    table = sys.modules.get("support.interop.table")
    if table is not None and table.OUTCOMES:
        matrix = importlib.import_module("support.interop.matrix")
        terminalreporter.section("interoperability")
        for line in table.lines(matrix.all_rows()):
            terminalreporter.write_line(line)
    counted = sys.modules.get("support.differential.table")
    if counted is not None and counted.TABLE.decided:
        terminalreporter.section("same rules through mihomo and ours")
        for line in counted.TABLE.lines():
            terminalreporter.write_line(line)


def pytest_configure(config: pytest.Config) -> None:
    """Loads the rig's plugin unless the installed package's entry point has done so."""
    module = importlib.import_module(PLUGIN)
    if not config.pluginmanager.is_registered(module):
        config.pluginmanager.register(module, PLUGIN)


@pytest.fixture(scope="module")
def module_stage(module_rig, tmp_path_factory):
    """A gateway that tests have governed, for all of a file."""
    from support.governed import governing

    with governing(module_rig, tmp_path_factory.mktemp("home")) as stage:
        yield stage


@pytest.fixture
def stage(module_stage):
    """The same, as it was at first."""
    module_stage.reset()
    return module_stage
