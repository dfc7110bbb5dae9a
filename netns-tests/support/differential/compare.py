"""One rule file through both programs, and whether they agree flow by flow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from support.differential import programs
from support.differential.clients import run_flows
from support.differential.flow import DROPPED, ENDED, Flow, Outcome
from support.differential.in_process import InProcess
from support.differential.world import MEMBERS, WITHOUT_UDP
from support.gateway import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from support.differential.internet import Internet
    from support.differential.programs import Decided
    from support.differential.rule_file import RuleFile

    from mihomo_tproxy.rig import Rig

QUIET: Final = (DROPPED, ENDED)


class Compared(NamedTuple):
    """A flow, what mihomo did with it, and what we did."""

    flow: Flow
    decided: Decided
    """By mihomo."""
    theirs: Outcome
    ours: Outcome
    rule: int | None
    """The place of the rule by which we decided."""
    equal: bool


def compare(rig: Rig, internet: Internet, file: RuleFile, home: Path) -> list[Compared]:
    """Both programs one after the other, on the same ports.

    Who hears nothing where an answer is due asks once more, as anybody would: the machine is slow.
    """
    config: dict[str, Any] = {**file.sections(), "proxies": internet.proxies(WITHOUT_UDP)}
    with programs.mihomo(rig, home, config) as mihomo:
        theirs = run_flows(rig, file.flows)
        keys = {flow: programs.source_of(rig, flow) for flow in file.flows}
        wait_until(
            lambda: set(keys.values()) <= mihomo.decided().keys(), "mihomo's log of all flows"
        )
        decided = mihomo.decided()
        dropped = {flow for flow in file.flows if theirs[flow].answer == DROPPED}
        silent = {flow for flow in dropped if "REJECT" in decided[keys[flow]].chain}
        theirs |= run_flows(rig, dropped - silent)
    with programs.ours(rig, home, config):
        ours = run_flows(rig, file.flows, silent)
        dropped = {flow for flow in file.flows if ours[flow].answer == DROPPED}
        ours |= run_flows(rig, dropped - silent)
        engine = InProcess(rig, home, file.names, file.hosts)
    compared = []
    for flow in file.flows:
        said, rule = decided[keys[flow]], engine.rule(flow)
        same_rule = rule in said.rules if said.rules else rule is None
        same_way = _same_way(flow, said, theirs[flow], ours[flow])
        compared.append(
            Compared(flow, said, theirs[flow], ours[flow], rule, same_rule and same_way)
        )
    return compared


def _same_way(flow: Flow, said: Decided, theirs: Outcome, ours: Outcome) -> bool:
    if flow.network == "udp" and theirs.answer in QUIET:  # we may send an ICMP error
        return ours.answer in QUIET
    # mihomo resolves names of datagrams by itself; for us the proxy does unless a rule asked.
    by_name = f"{flow.host.rstrip('.')} {flow.port}"
    asked = {theirs.asked, by_name} if flow.network == "udp" else {theirs.asked}
    as_good = MEMBERS.get(said.chain.partition("[")[0], {theirs.answer})
    # Names are in small letters with us, and as the client wrote them with mihomo.
    return ours.answer in as_good and ours.asked in {each.lower() for each in asked}


def describe(file: RuleFile, each: Compared) -> str:
    """A line for a flow that went different ways."""
    rules = [file.rules[number] for number in sorted(each.decided.rules)[:2]]
    mine = "no rule" if each.rule is None else file.rules[each.rule]
    return (
        f"{each.flow}: mihomo {each.theirs} by {rules or 'no rule'} using {each.decided.chain};"
        f" ours {each.ours} by {mine!r}; {file.names.get(each.flow.host)}"
    )
