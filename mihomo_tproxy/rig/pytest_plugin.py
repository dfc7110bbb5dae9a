"""pytest fixtures for tests through a gateway in network namespaces.

    def test_my_proxy(rig):
        rig.gateway.start(["my-proxy"]).wait_for_line("ready")
        rig.clients[0].run(["curl", "-sS", "--fail", rig.servers.url("/bytes/1000")])

| fixture | scope | |
|---|---|---|
| `rig` | function | two clients, gateway, internet, for tests that change it |
| `module_rig` | module | the same, shared by a module's tests |
| `rig_factory` | function | `rig_factory(clients=1, wan=WanProfile(...))`: any number of rigs |
| `module_rig_factory` | module | the same for a module |
| `session_rig_factory` | session | the same for a whole run |

Tests that need a rig are skipped, with the reason, where the host cannot build one. After each of
them nothing may be left: a namespace, program or pin that stays fails the test. When a test fails,
the output of the programs it had started is part of its report.

Invariant: loading this module costs nothing and needs no privileges; the rig is imported by the
first test that asks for one.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from mihomo_tproxy.rig import Rig

    RigFactory = Callable[..., Rig]

_REPORT_TAIL = 4000
_live: list[Rig] = []
"""Rigs that are up in this run, for reports; pytest runs one test at a time in a process."""


@contextmanager
def _factory() -> Iterator[RigFactory]:
    """Rigs that go down together, in reverse order, with nothing left of any."""
    from mihomo_tproxy.errors import RigError
    from mihomo_tproxy.rig import Rig, host

    try:
        host.require_host()
    except RigError as error:
        pytest.skip(str(error))
    mine: list[Rig] = []

    def build(*args: Any, **kwargs: Any) -> Rig:
        """A rig that is up: from a Topology, or from the keywords of `Rig.standard`."""
        rig = Rig(*args, **kwargs) if args else Rig.standard(**kwargs)
        rig.up()
        mine.append(rig)
        _live.append(rig)
        return rig

    try:
        yield build
    finally:
        problems = [problem for rig in reversed(mine) for problem in _take_down(rig)]
    assert not problems, "left behind: " + "; ".join(problems)  # noqa: S101 - a test's verdict


def _take_down(rig: Rig) -> list[str]:
    from mihomo_tproxy.rig import state

    _live.remove(rig)
    if rig.state is None:
        return []
    prefix = rig.state.prefix
    return rig.down() + state.leftovers(prefix)


@pytest.fixture
def rig_factory() -> Iterator[RigFactory]:
    """Builds rigs for one test."""
    with _factory() as build:
        yield build


@pytest.fixture(scope="module")
def module_rig_factory() -> Iterator[RigFactory]:
    """Builds rigs for the tests of a module."""
    with _factory() as build:
        yield build


@pytest.fixture(scope="session")
def session_rig_factory() -> Iterator[RigFactory]:
    """Builds rigs for the whole run."""
    with _factory() as build:
        yield build


@pytest.fixture
def rig(rig_factory: RigFactory) -> Rig:
    """The standard topology for one test."""
    return rig_factory()


@pytest.fixture(scope="module")
def module_rig(module_rig_factory: RigFactory) -> Rig:
    """The standard topology for the tests of a module."""
    return module_rig_factory()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds what the rig's programs have printed to the report of a failed test."""
    report = yield
    if report.failed:
        for live in _live:
            for node in live.nodes.values():
                for process in node.processes:
                    text = process.output[-_REPORT_TAIL:].strip()
                    if text:
                        report.sections.append((f"{process.name} ({process.pid})", text))
    return report
