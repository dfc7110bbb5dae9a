"""What becomes of one flow, and why: the decision of the product's own parts, put into words.

Nothing is decided here. The engine decides, groups pick, `tunnel.choose` passes rules over,
`KernelVerdicts.learn` says whether the kernel may hold a verdict; this module asks them, and tells.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.config.compiling import compile_config, conditional_targets
from mihomo_tproxy.config.specs.group import GroupType, Strategy
from mihomo_tproxy.dataplane.never import never_steered
from mihomo_tproxy.dataplane.plan import STATIC
from mihomo_tproxy.dataplane.verdicts import KernelVerdicts
from mihomo_tproxy.group.base import Group
from mihomo_tproxy.matcher.cidr import masked
from mihomo_tproxy.model import fields
from mihomo_tproxy.model.address import V4_BITS, address_text, is_v4
from mihomo_tproxy.model.enums import InboundType, TunnelMode, Verdict
from mihomo_tproxy.rule.chain import chain
from mihomo_tproxy.rule.engine import Engine
from mihomo_tproxy.rule.flatten import build_image
from mihomo_tproxy.rule.image import Image
from mihomo_tproxy.tunnel.tunnel import choose
from mihomo_tproxy.worker import steered_engine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mihomo_tproxy.config.schema import Config
    from mihomo_tproxy.model.group_state import GroupState
    from mihomo_tproxy.model.metadata import Decision, Metadata
    from mihomo_tproxy.outbound.base import Outbound
    from mihomo_tproxy.outbound.registry import OutboundRegistry

FIELD_WORDS: Final = {
    fields.SRC_ADDR: "source address",
    fields.DST_ADDR: "destination address",
    fields.SRC_PORT: "source port",
    fields.DST_PORT: "destination port",
    fields.NETWORK: "network",
    fields.DOMAIN: "name",
    fields.INBOUND: "listener and user",
    fields.DSCP: "DSCP",
    fields.PROCESS: "program",
    fields.UID: "user of the program",
}
VERDICT_WORDS: Final = {Verdict.DIRECT: "forwards", Verdict.DROP: "drops"}
_STRATEGY_WORDS: Final = {
    Strategy.CONSISTENT_HASHING: "by a hash of the destination",
    Strategy.STICKY_SESSIONS: "by a hash of source and destination",
    Strategy.ROUND_ROBIN: "one after the other",
}


@dataclass(frozen=True, slots=True)
class RuleText:
    """One rule of the file."""

    number: int
    """Its place in `rules`, from 1."""
    text: str
    inner: str
    """The rule inside the set that this line names; "" for a line that stands for itself."""


@dataclass(frozen=True, slots=True)
class Passed:
    """A rule that matched, and yet did not decide."""

    rule: RuleText
    target: str
    reason: str


@dataclass(frozen=True, slots=True)
class Step:
    """A group on the way."""

    group: str
    type: str
    how: str
    member: str
    """The one it takes; "" for a group whose every flow takes another."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything about one flow."""

    rule: RuleText | None
    """None: no rule matched, or the mode decided."""
    target: str
    passed: tuple[Passed, ...]
    depends: tuple[str, ...]
    """What the decision followed from, in words."""
    resolved: str | None
    """The address the name was resolved to for the rules, "" for none; None if none asked."""
    groups: tuple[Step, ...]
    outbound: str
    type: str
    """As the file has it, or `built in`."""
    dialers: tuple[str, ...]
    """The outbounds through which its server is reached, nearest first."""
    held: bool
    """Whether the kernel decides such flows by itself, now or after the first."""
    kernel: str
    """How, or why not."""


class Basis:
    """All that decides, made of one configuration as the processes make it."""

    def __init__(self, config: Config, state: GroupState, outbounds: OutboundRegistry) -> None:
        """`outbounds`: all of the configuration's, picking by this state."""
        self.config = config
        self.state = state
        self.outbounds = outbounds
        conditional = conditional_targets(config)
        image = Image(build_image(config.rules, conditional))
        self.steered = steered_engine(image, config)
        self.named = Engine(image, config.mode)
        self.links = list(chain(config.rules, 0, conditional))
        self.plan = compile_config(config).plan
        specs = (*config.provider_proxies, *config.proxies)
        self.types = {spec.name: spec.type for spec in specs}
        self.dialers = {spec.name: spec.dialer_proxy for spec in specs}

    def explain(self, metadata: Metadata) -> Explanation:
        """What becomes of a flow.

        Raises:
            NeedsAddress: a rule asks for the address of its name: resolve it, and ask again.
        """
        steered = metadata.inbound is InboundType.TPROXY
        engine = self.steered if steered else self.named
        decision, outbound, verdict = choose(engine, self.outbounds, metadata)
        target = self.outbounds.get(decision.target)
        asked = metadata.resolved if metadata.host else None
        passed = tuple(self._passed(engine, metadata, decision))
        steps = tuple(self._steps(target, metadata))
        name = outbound.name if outbound is not None else ""
        held, kernel = False, "the client came to a port of ours, so the relay carries the flow"
        if steered:
            held, kernel = self._kernel(metadata, decision, outbound, verdict)
        return Explanation(
            rule=self._rule(engine, decision.rank) if decision.rank >= 0 else None,
            target=decision.target,
            passed=passed,
            depends=words_of(decision.depends),
            resolved=asked,
            groups=steps,
            outbound=name,
            type=self.types.get(name, "built in"),
            dialers=tuple(self._dialers(name)),
            held=held,
            kernel=kernel,
        )

    def _rule(self, engine: Engine, rank: int) -> RuleText:
        text, inner = engine.line(rank), repr(self.links[rank].rule)
        return RuleText(engine.line_number(rank) + 1, text, inner if inner != text else "")

    def _passed(self, engine: Engine, metadata: Metadata, decision: Decision) -> Iterator[Passed]:
        if self.config.mode is not TunnelMode.RULE:
            return
        if metadata.resolved is not None:
            metadata.destination = ""
        for rank, name in engine.matches(metadata):
            if rank == decision.rank:
                return
            yield Passed(self._rule(engine, rank), name, self._unusable(name, metadata))

    def _unusable(self, name: str, metadata: Metadata) -> str:
        target = self.outbounds.get(name)
        if target is None:
            return f"there is no outbound {name!r}"
        outbound = target.pick(metadata)
        if outbound.passes:
            return f"{outbound.name} has the next rules asked"
        if not target.udp:
            return f"{outbound.name if outbound.udp is False else name} takes no datagrams"
        return f"{name} picked somebody who could not take it"

    def _steps(self, target: Outbound | None, metadata: Metadata | None) -> Iterator[Step]:
        while isinstance(target, Group):
            kind, how = str(target.spec.type), self._how(target)
            if target.spec.strategy is Strategy.ROUND_ROBIN:
                yield Step(target.name, kind, how, "")
                return
            member = target.member(metadata)
            yield Step(target.name, kind, how, member.name)
            target = member

    def _how(self, group: Group) -> str:
        spec = group.spec
        known = self.state.now.get(spec.name) in spec.members
        if spec.type is GroupType.LOAD_BALANCE:
            by_user = spec.hash_user and spec.strategy is not Strategy.ROUND_ROBIN
            return "by a hash of the user" if by_user else _STRATEGY_WORDS[spec.strategy]
        if spec.type is GroupType.SELECT:
            return "selected" if known else "nothing is selected"
        if not known:
            return "nothing is tested"
        return "the fastest" if spec.type is GroupType.URL_TEST else "the first alive"

    def _dialers(self, name: str) -> Iterator[str]:
        """Groups on the way have picked already."""
        while dialer := self.dialers.get(name, ""):
            outbound = self.outbounds.get(dialer)
            steps = list(self._steps(outbound, None))
            name = (steps[-1].member if steps else "") or dialer
            yield name

    # The kernel.

    def _kernel(
        self,
        metadata: Metadata,
        decision: Decision,
        outbound: Outbound | None,
        verdict: Verdict,
    ) -> tuple[bool, str]:
        plan, destination = self.plan, metadata.destination_key()
        if destination is None:
            return False, "the name has no address"
        if why := never_steered(plan, metadata.source_key(), destination):
            return True, f"forwards it without asking any rule: {why}"
        if not plan.cache:
            key = "interface-name" if self.config.interface_name else "gateway.verdict-cache"
            return False, f"is told nothing, because of {key}"
        static, where = self._static(destination)
        if does := VERDICT_WORDS.get(static):
            return True, f"{does} it from the first packet: the rules decide so for {where}"
        if verdict is Verdict.UNKNOWN:
            return False, self._why_relayed(decision.target, outbound)
        verdicts = KernelVerdicts(_Unwritten())
        verdicts.configure(1, plan.masks)
        if verdicts.learn(metadata, decision.depends, verdict):
            same, does = ", ".join(words_of(decision.depends)), VERDICT_WORDS[verdict]
            return True, f"learns it from the first flow, then {does} all of the same {same}"
        return False, f"cannot hold it: {_why_unlearnt(decision.depends)}"

    def _static(self, destination: int) -> tuple[Verdict, str]:
        """The verdict that follows from the address alone, and the addresses it is for."""
        found = [
            (length, int.from_bytes(key, "big"), number)
            for key, length, number in STATIC.iter_unpack(self.plan.static)
            if masked(destination, length).key == int.from_bytes(key, "big")
        ]
        length, key, number = max(found, default=(0, 0, 0))
        return Verdict(number), prefix_text(key, length) if length else "every address"

    def _why_relayed(self, target: str, outbound: Outbound | None) -> str:
        if outbound is None:
            return "is not told: no outbound takes it"
        found = self.outbounds.get(target)
        if found is not None and found.verdict is not Verdict.UNKNOWN:
            return "is not told: a group passed this flow on, and may take the next one"
        for step in self._steps(found, None):
            if step.type == GroupType.LOAD_BALANCE:
                return f"is not told: {step.group} decides for each flow anew"
        kind = self.types.get(outbound.name, outbound.name.lower())
        if kind == "direct":
            return (
                f"is not told: {outbound.name} has options of its own, which the relay carries out"
            )
        if kind.startswith("reject"):
            return "is not told: the relay answers the client"
        if outbound.passes:
            return f"is not told: {outbound.name} leads nowhere"
        return f"is not told: {outbound.name} is a proxy, the relay carries the flow"


class _Unwritten:
    """A map of verdicts that takes none."""

    def update(self, key: bytes, value: bytes) -> None:
        """Nothing is kept."""


def words_of(bits: int) -> tuple[str, ...]:
    """Fields in words."""
    return tuple(word for bit, word in FIELD_WORDS.items() if bits & bit)


def prefix_text(key: int, length: int) -> str:
    """A prefix of the 128-bit keys in CIDR notation."""
    v4 = length >= V4_BITS and is_v4(key)
    return f"{address_text(key)}/{length - V4_BITS if v4 else length}"


def _why_unlearnt(depends: int) -> str:
    hidden = words_of(depends & ~fields.PACKET)
    if hidden:
        return f"it depends on the {' and the '.join(hidden)}, which no packet shows"
    if depends & fields.SRC_PORT:
        return "it depends on the source port, so that every flow is one of its own"
    return "its table of address prefixes is full"


def with_mode(config: Config, mode: TunnelMode) -> Config:
    """The configuration in another mode."""
    return replace(config, mode=mode)
