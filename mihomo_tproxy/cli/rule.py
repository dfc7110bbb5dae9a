"""`mihomo-tproxy rule FLOW`: which rule decides a flow, why, and where it goes.

Asks the configuration and the choices of the gateway that runs here; with -f, or when none runs,
those of a file. A name in a flow is answered twice: as a steered flow, which has an address alone,
and as a client of our HTTP and SOCKS ports would ask for it.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from mihomo_tproxy.cli.files import config_path
from mihomo_tproxy.cli.flow import parse_address, parse_flow
from mihomo_tproxy.cli.govern import tell
from mihomo_tproxy.cli.running import running_file
from mihomo_tproxy.config import load_with_lines
from mihomo_tproxy.config.compiling import stored_selections
from mihomo_tproxy.config.specs.listener import ListenerType
from mihomo_tproxy.errors import GatewayError, NeedsAddress
from mihomo_tproxy.explain import Basis, Explanation, with_mode
from mihomo_tproxy.model.enums import InboundType, Network, TunnelMode
from mihomo_tproxy.model.fields import NAMES_OBSERVED
from mihomo_tproxy.model.group_state import GroupState
from mihomo_tproxy.model.metadata import Metadata, RequestMetadata
from mihomo_tproxy.net.icmp import Unreachable
from mihomo_tproxy.net.pipes import PipePool
from mihomo_tproxy.net.reactor import Reactor
from mihomo_tproxy.net.relay import RelayContext, Timeouts
from mihomo_tproxy.net.resolve import SystemResolver
from mihomo_tproxy.net.tracker import Tracker
from mihomo_tproxy.outbound.env import OutboundEnv
from mihomo_tproxy.outbound.factory import build_outbounds
from mihomo_tproxy.printing import printable
from mihomo_tproxy.tunnel.tunnel import first_address

if TYPE_CHECKING:
    import argparse

    from mihomo_tproxy.cli.flow import Flow
    from mihomo_tproxy.config.schema import Config
    from mihomo_tproxy.config.yaml import Document
    from mihomo_tproxy.explain import RuleText
    from mihomo_tproxy.net.resolve import Resolved


class Source(NamedTuple):
    """What is asked."""

    path: str
    document: Document
    config: Config
    state: GroupState
    running: bool


class Answer(NamedTuple):
    """One way for the flow to come, and what becomes of it."""

    inbound: str
    """`steered`, or the type of a port."""
    flow: str
    explanation: Explanation | None
    """None for a name without an address, as a steered flow."""


def rule(args: argparse.Namespace) -> int:
    """Print the answers."""
    flow = parse_flow(args.flow)
    resolved = parse_address(args.resolved) if args.resolved else None
    if resolved and not flow.host:
        raise GatewayError("--resolved is for a flow to a name")
    source = find_source(args.file, args.directory)
    kinds = [args.inbound] if args.inbound else ["tproxy", "mixed"] if flow.host else ["tproxy"]
    answers = asyncio.run(answer(source, flow, kinds, args.user, resolved))
    if args.json:
        print(json.dumps(_values(source, flow, answers)))
    else:
        print(text_of(source, flow, answers))
    return 0


def find_source(file: str | None, directory: str | None) -> Source:
    """The configuration and the choices of groups to ask.

    Raises:
        ConfigError: there is no file, or it cannot be used.
        GatewayError: the gateway that runs does not answer.
    """
    running = running_file() if file is None and directory is None else None
    path, home = running or (config_path(file, directory), directory or "")
    config, document = load_with_lines(path, home)
    if running is None:
        state = GroupState(stored_selections(config), {})
        return Source(path, document, config, state, running=False)
    report = tell("groups")
    now = {group["name"]: group["now"] for group in report["groups"] if group["now"]}
    dead = {group["name"]: frozenset(group["dead"]) for group in report["groups"]}
    config = with_mode(config, TunnelMode(report["mode"]))
    return Source(path, document, config, GroupState(now, dead), running=True)


async def answer(
    source: Source, flow: Flow, kinds: list[str], user: str, resolved: str | None
) -> list[Answer]:
    """What becomes of the flow, for each way to come."""
    config, loop = source.config, asyncio.get_running_loop()
    reactor = Reactor(loop)
    pipes = PipePool()
    context = RelayContext(reactor, pipes, Tracker(), Timeouts())
    resolver = SystemResolver(loop, config.hosts)
    env = OutboundEnv(
        context, resolver, Unreachable(reactor), config.interface_name, config.routing_mark
    )
    outbounds = build_outbounds(
        config.proxies, env, config.groups, source.state, config.provider_proxies
    )
    basis = Basis(config, source.state, outbounds)
    try:
        return [await _answer(basis, resolver, flow, kind, user, resolved) for kind in kinds]
    finally:
        resolver.close()
        reactor.close()
        pipes.close()


async def _answer(
    basis: Basis, resolver: SystemResolver, flow: Flow, kind: str, user: str, resolved: str | None
) -> Answer:
    if kind == "tproxy":
        found = flow.destination
        if flow.host:
            found = await _address(resolver, flow.host) if resolved is None else resolved
        shown = str(flow._replace(destination=found, host=""))
        if not found:
            return Answer("steered", str(flow), None)
        steered = Metadata(
            flow.network, InboundType.TPROXY, flow.source, flow.source_port, found, flow.port
        )
        return Answer("steered", shown, basis.explain(steered))
    metadata = _request(basis.config, flow, kind, user)
    try:
        explanation = basis.explain(metadata)
    except NeedsAddress:
        metadata.resolved = await _address(resolver, flow.host) if resolved is None else resolved
        explanation = basis.explain(metadata)
    return Answer(kind, str(flow), explanation)


def _request(config: Config, flow: Flow, kind: str, user: str) -> RequestMetadata:
    """The flow as the first listener of a type that the file has would hand it on."""
    connect = kind == "http" and flow.network is Network.TCP
    metadata = RequestMetadata(
        flow.network,
        InboundType.HTTPS if connect else InboundType.SOCKS5,
        flow.source,
        flow.source_port,
        flow.destination,
        flow.port,
        flow.host,
    )
    listener = next((each for each in config.listeners if each.type == ListenerType(kind)), None)
    if listener is not None:
        metadata.inbound_name, metadata.inbound_port = listener.name, listener.port
    metadata.inbound_user = user
    return metadata


async def _address(resolver: SystemResolver, host: str) -> str:
    """The address that rules see for a name, "" for none."""
    done: asyncio.Future[Resolved] = asyncio.get_running_loop().create_future()
    resolver.resolve(host, done.set_result)
    return first_address(await done)


# The words.


def text_of(source: Source, flow: Flow, answers: list[Answer]) -> str:
    """All answers for people."""
    where = "the gateway that runs here" if source.running else source.path
    lines = [f"{flow}, by {where}"]
    if flow.assumed:
        lines.append(f"assumed: {', '.join(flow.assumed)}")
    for each in answers:
        lines += ["", *_answer_lines(source, flow, each)]
    return "\n".join(map(printable, lines))


def _answer_lines(source: Source, flow: Flow, answered: Answer) -> list[str]:
    if answered.inbound != "steered":
        head = f"when a client asks a port of type {answered.inbound} for it"
    elif not flow.host:
        head = "when it is steered"
    else:
        names = "" if NAMES_OBSERVED else ", whose name is not known in this version"
        head = f"when it is steered{names}"
        if answered.explanation is None:
            return [f"{head}:", f"  {flow.host} has no address"]
        head += f", to {answered.flow.partition('-> ')[2]}"
    assert answered.explanation is not None  # noqa: S101 (of names as steered flows alone)
    facts = explanation_facts(source, flow, answered.explanation)
    return [f"{head}:", *(f"  {name:<9} {value}" for name, value in facts)]


def explanation_facts(
    source: Source, flow: Flow, explanation: Explanation
) -> list[tuple[str, str]]:
    """What there is to say, line by line: a word and a sentence."""
    facts = [("rule", _rule_text(source, explanation))]
    facts += [
        ("passed", f"{_place(source, each.rule)}: {each.reason}") for each in explanation.passed
    ]
    facts.append(("depends", ", ".join(explanation.depends) or "nothing"))
    if explanation.resolved is not None:
        address = explanation.resolved or "no address"
        facts.append(("resolved", f"{flow.host} to {address}, for the rules"))
    facts += [
        ("group", f"{step.group} ({step.type}) takes {step.member or 'its members'}: {step.how}")
        for step in explanation.groups
    ]
    through = "".join(f", dialled through {name}" for name in explanation.dialers)
    facts.append(("outbound", f"{explanation.outbound or 'none'} ({explanation.type}){through}"))
    facts.append(("kernel", explanation.kernel))
    return facts


def _rule_text(source: Source, explanation: Explanation) -> str:
    if explanation.rule is not None:
        return _place(source, explanation.rule)
    if source.config.mode is not TunnelMode.RULE:
        return f"none is asked: the mode is {source.config.mode}"
    return "none matches: DIRECT"


def _place(source: Source, rule: RuleText) -> str:
    line = source.document.line(f"rules[{rule.number - 1}]")
    inner = f", by {rule.inner} in it" if rule.inner else ""
    return f"{rule.text}{inner} (rule {rule.number}, line {line})"


def _values(source: Source, flow: Flow, answers: list[Answer]) -> dict[str, Any]:
    """All answers for programs."""
    found = []
    for each in answers:
        values: dict[str, Any] = {"inbound": each.inbound, "flow": each.flow, "explanation": None}
        if each.explanation is not None:
            values["explanation"] = explained = asdict(each.explanation)
            for text in [explained["rule"], *(passed["rule"] for passed in explained["passed"])]:
                if text is not None:
                    text["line"] = source.document.line(f"rules[{text['number'] - 1}]")
        found.append(values)
    return {
        "config": source.path,
        "running": source.running,
        "mode": str(source.config.mode),
        "flow": str(flow),
        "assumed": list(flow.assumed),
        "answers": found,
    }
