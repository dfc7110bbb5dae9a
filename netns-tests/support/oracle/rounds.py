"""Rounds of the verdict test: the same flows again and again, while what decides them changes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from support.differential.clients import run_flows
from support.differential.flow import DROPPED, STEERED
from support.differential.flow import ENDED as NO_ANSWER
from support.oracle.clients import SILENCE_S, SILENT, run_steered
from support.oracle.expected import ENDED, HELD, KERNEL, UNREACHED, Expected, Oracle, Outbounds
from support.oracle.world import NOWHERE

from mihomo_tproxy.config import load
from mihomo_tproxy.dataplane.abi import Route
from mihomo_tproxy.model import fields
from mihomo_tproxy.model.enums import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from support.differential.flow import Flow
    from support.gateway import Gateway
    from support.oracle.kernel import Kernel
    from support.oracle.rule_file import Ports, RuleFile, Template

    from mihomo_tproxy.rig import Rig

UNSENT: Final = 600
_VERDICTS: Final = {Verdict.DIRECT: KERNEL, Verdict.DROP: UNREACHED}
_ROUTES: Final = {KERNEL: Route.KERNEL, UNREACHED: Route.DROP}


class Rounds:
    """A gateway, and what it should do now."""

    def __init__(
        self, rig: Rig, gateway: Gateway, kernel: Kernel, ports: Ports, common: Mapping[str, Any]
    ) -> None:
        self.ways: Counter[str] = Counter()
        """Steered flows by their way."""
        self.changes: Counter[tuple[str, str]] = Counter()
        """The ways of the same flow before and after something was changed."""
        self._rig, self._gateway, self._kernel = rig, gateway, kernel
        self._ports, self._common = ports, common
        self._outbounds = Outbounds()
        self._before: dict[Template, str] = {}

    def load(self, file: RuleFile) -> None:
        """Has the gateway read another file."""
        config = {**self._common, "rules": file.rules, "sub-rules": file.sub_rules}
        self._gateway.reload(config)
        self._file = file
        self._rules = load(str(self._gateway.file)).rules
        self._mode = "rule"
        self._before = {}

    def select(self, group: str, member: str) -> None:
        """Has a group choose."""
        self._kernel.ask(command="select", group=group, member=member)
        self._outbounds.now[group] = member

    def mode(self, mode: str) -> None:
        """Has the rules asked, or not."""
        self._kernel.ask(command="mode", mode=mode)
        self._mode = mode

    def run(self, what: str, every: int = 1) -> None:
        """Sends every n-th flow of the file three times, and looks at what the kernel holds."""
        oracle = Oracle(self._rules, self._outbounds, self._mode)
        templates = self._file.templates[::every]
        steered = [each for each in templates if each.flow.listener == STEERED]
        epoch = self._kernel.settings().epoch
        problems = self._send(oracle, steered, learnt=False)
        problems += self._send_named(oracle, [each for each in templates if each not in steered])
        problems += self._send(oracle, steered, learnt=True)
        problems += self._send_to_kernel(oracle, steered)
        problems += self._look(oracle)
        assert self._kernel.settings().epoch == epoch
        assert not problems, "\n".join(
            (f"{what}, {self._outbounds.now}:", *problems, *map(repr, self._rules))
        )

    def _send(self, oracle: Oracle, templates: Sequence[Template], *, learnt: bool) -> list[str]:
        """Every flow once; `learnt`: what the kernel may know by now, it must."""
        flows = {self._ports.flow(each): each for each in templates}
        expected = {flow: oracle.expect(flow) for flow in flows}
        before = self._kernel.routes()
        ways = run_steered(self._rig, expected)
        after = self._kernel.routes()
        self.ways.update(ways.values())
        if learnt:
            now = {template: ways[flow] for flow, template in flows.items()}
            self.changes.update(
                (self._before[template], way)
                for template, way in now.items()
                if template in self._before
            )
            self._before |= now
        problems = [
            f"{flow} took {way}, where {each} was due"
            for flow, way in ways.items()
            if way not in _seen_as(flow, each := _due(expected[flow], learnt=learnt))
        ]
        if learnt and not problems:
            for way, route in _ROUTES.items():
                due = sum(each.kernel == way for each in expected.values())
                found = after[route].flows - before[route].flows
                if due != found:
                    problems.append(f"{found} flows by {route.name}, where {due} were due")
        return problems

    def _send_to_kernel(self, oracle: Oracle, templates: Sequence[Template]) -> list[str]:
        """What the kernel has learnt, alone: no packet of it comes up."""
        flows = [self._ports.flow(each) for each in templates]
        expected = {flow: each for flow in flows if (each := oracle.expect(flow)).kernel}
        before = self._kernel.routes()
        run_steered(self._rig, expected)
        packets = self._kernel.routes()[Route.RELAY].packets - before[Route.RELAY].packets
        return [f"{packets} packets of learnt flows came up"] if packets else []

    def _send_named(self, oracle: Oracle, templates: Sequence[Template]) -> list[str]:
        """Flows whose client names the destination to a listener."""
        flows = [self._ports.flow(each) for each in templates]
        expected = {flow: oracle.expect(flow).relay for flow in flows}
        silent = [
            flow
            for flow in flows
            if HELD in expected[flow]
            or (flow.network == "udp" and (ENDED in expected[flow] or flow.host == NOWHERE))
        ]
        problems = []
        for flow, outcome in run_flows(self._rig, flows, silent, SILENCE_S).items():
            answers = set(expected[flow])
            if flow.host == NOWHERE and "DIRECT" in answers:
                answers.add(ENDED)
            quiet = {NO_ANSWER, DROPPED} if flow.network == "udp" else set()
            for way, answer in ((ENDED, NO_ANSWER), (HELD, DROPPED)):
                if way in answers:
                    answers |= {answer, *quiet}
            if outcome.answer not in answers:
                problems.append(f"{flow} got {outcome}, where {sorted(answers)} was due")
        return problems

    def _look(self, oracle: Oracle) -> list[str]:
        """The tables, asked for flows that nobody sends."""
        held = self._kernel.held()
        keyed = fields.PACKET & ~fields.SRC_PORT
        problems = [f"keys of mask {mask}" for mask in held.verdicts if mask & ~keyed]
        for flow in self._file.flows(UNSENT):
            verdict, by = held.answer(flow)
            due = oracle.expect(flow)
            if verdict in _VERDICTS and _VERDICTS[verdict] != due.kernel:
                problems.append(f"{flow} would be {verdict.name} by {by}, where {due} was due")
        return problems


def _due(expected: Expected, *, learnt: bool) -> frozenset[str]:
    """The ways that are right."""
    if not expected.kernel:
        return expected.relay
    return frozenset({expected.kernel}) if learnt else expected.relay | {expected.kernel}


def _seen_as(flow: Flow, ways: frozenset[str]) -> set[str]:
    """How ways look from outside: the relay's refusals of datagrams are limited in rate."""
    if flow.network == "tcp":
        return set(ways)
    return {SILENT if way in (HELD, UNREACHED) else way for way in ways} | (
        {SILENT} if ENDED in ways else set()
    )
