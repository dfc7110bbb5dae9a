"""Every protocol, cipher and transport against real servers: a table, one test for each cell.

With `--client mihomo` mihomo takes the gateway's place, which shows what the servers can do.
"""

from __future__ import annotations

from contextlib import ExitStack
from itertools import cycle

import pytest
from support.interop.checks import CHECKS
from support.interop.client import routing_of, running, source_ports
from support.interop.matrix import all_peers
from support.interop.table import OUTCOMES

from mihomo_tproxy.errors import RigError

pytestmark = pytest.mark.timeout(120)


CELLS = [
    pytest.param(peer.name, number, check, id=f"{row}: {check}")
    for peer in all_peers().values()
    for number, row in enumerate(peer.rows)
    for check in row.checks
]
"""Every cell that is tried, grouped by server."""


class Stage:
    """One server at a time, and a gateway with all proxies that lead to it and that are wanted."""

    def __init__(self, rig, client, directory, wanted):
        self.rig = rig
        self._wanted = wanted
        self._client = client
        self._directory = directory
        self._stack = ExitStack()
        self._name = ""
        self._error = None
        self._ports = {}

    def enter(self, name):
        """The server of this name; whoever was there before is gone. Its failure is for all."""
        if name != self._name:
            self.leave()
            self._name, self._error = name, None
            peer = all_peers()[name]
            rows = {number: peer.rows[number] for who, number in self._wanted if who == name}
            try:
                self._stack.callback(peer.stop)
                peer.start(self.rig.internet, self._directory / name)
                self._stack.enter_context(running(self._client, self.rig, routing_of(rows)))
            except (RigError, AssertionError) as error:
                self._error = error
        if self._error is not None:
            raise self._error
        return all_peers()[name]

    def leave(self):
        """Stops what runs."""
        self._stack.close()

    def ports(self, row, number):
        """Source ports that lead to a row; each comes again as late as can be."""
        return self._ports.setdefault(str(row), cycle(source_ports(number)))


@pytest.fixture(scope="module")
def stage(request, module_rig, tmp_path_factory):
    assert module_rig.servers.process.running
    client = request.config.getoption("--client")
    calls = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    wanted = {(call["name"], call["number"]): None for call in calls if "check" in call}
    stage = Stage(module_rig, client, tmp_path_factory.mktemp("peers"), wanted)
    yield stage
    stage.leave()


@pytest.mark.parametrize(("name", "number", "check"), CELLS)
def test_cell(stage, name, number, check):
    row = all_peers()[name].rows[number]
    OUTCOMES[str(row), check] = "FAILED"
    stage.enter(name)
    CHECKS[check](stage.rig, stage.ports(row, number), row)
    OUTCOMES[str(row), check] = "ok"
