"""What the literal loop says of a flow, with the groups as they are set: the oracle.

A way is how a flow went, as far as anybody outside can tell:

    kernel        forwarded, and never seen by the relay
    DIRECT        relayed to the destination
    P0, ...       relayed to a proxy
    REJECT        ended
    REJECT-DROP   accepted and held in silence by the relay
    unreached     discarded by the kernel

A group that balances may take either of its members, so there can be several ways; then the kernel
must take none of them.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final, NamedTuple

from support.differential.flow import STEERED
from support.differential.programs import LISTENERS
from support.engines import copy_of, literal
from support.oracle.world import DIRECT, GROUPS, HOSTS, KERNEL_DIRECT, NAMES, SOURCES, WITHOUT_UDP

from mihomo_tproxy.model import fields
from mihomo_tproxy.model.enums import InboundType, Network
from mihomo_tproxy.model.metadata import RequestMetadata
from mihomo_tproxy.rule.chain import expanded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from support.differential.flow import Flow

    from mihomo_tproxy.model.interfaces import Rule
    from mihomo_tproxy.model.metadata import Metadata

KERNEL: Final = "kernel"
UNREACHED: Final = "unreached"
HELD: Final = "REJECT-DROP"
ENDED: Final = "REJECT"
_IN_KERNEL: Final = {"DIRECT": KERNEL, HELD: UNREACHED}
_DEAF: Final = frozenset({*WITHOUT_UDP, "streams"})
_GROUPS: Final = {group["name"]: group for group in GROUPS}
_UNKNOWABLE: Final = fields.SRC_PORT | fields.DSCP
"""What the kernel has no key for; names and listeners its flows have none of."""


class Expected(NamedTuple):
    """The ways a flow may take."""

    relay: frozenset[str]
    """If the relay has it."""
    kernel: str
    """If the kernel has it; "" if it must not."""


class Outbounds:
    """What the groups choose; the literal reading of their entries."""

    def __init__(self) -> None:
        self.now = {
            name: group["proxies"][0]
            for name, group in _GROUPS.items()
            if group["type"] == "select"
        }

    def leaves(self, name: str) -> frozenset[str]:
        """The outbounds that are no group, to which this one may lead."""
        if name not in _GROUPS:
            return frozenset({name})
        members = [self.now[name]] if name in self.now else _GROUPS[name]["proxies"]
        return frozenset().union(*map(self.leaves, members))

    def takes(self, name: str, network: str) -> bool:
        """Whether it takes such flows."""
        if network == "tcp":
            return True
        if name not in _GROUPS:
            return name not in _DEAF
        if _GROUPS[name].get("disable-udp"):
            return False
        return name not in self.now or self.takes(self.now[name], network)

    def usable(self, name: str, network: str) -> frozenset[bool]:
        """Whether the rules stop here: yes, no, or now this and now that."""
        leaves = self.leaves(name)
        if not self.takes(name, network) or leaves == {"PASS"}:
            return frozenset({False})
        return frozenset({True, False}) if "PASS" in leaves else frozenset({True})


class _Walk:
    """Once through the rules; balancing groups take or pass on the flow as the script says."""

    def __init__(self, outbounds: Outbounds, network: str, script: tuple[bool, ...]) -> None:
        self.said: list[bool] = []
        self.others: list[tuple[bool, ...]] = []
        """Scripts of the ways that were left out."""
        self._outbounds = outbounds
        self._network = network
        self._script = script

    def usable(self, target: str) -> bool:
        """Whether the rules stop at a target; beyond the script they go on."""
        answers = self._outbounds.usable(target, self._network)
        if len(answers) == 1:
            return True in answers
        if len(self.said) < len(self._script):
            self.said.append(self._script[len(self.said)])
        else:
            self.others.append((*self.said, True))
            self.said.append(False)
        return self.said[-1]


class Oracle:
    """The rules of one file, asked one by one."""

    def __init__(self, rules: Iterable[Rule], outbounds: Outbounds, mode: str = "rule") -> None:
        self._rules = [rule for _, rule in expanded(rules)]
        self._outbounds = outbounds
        self._mode = mode

    def expect(self, flow: Flow) -> Expected:
        """The ways of a flow."""
        steered = flow.listener == STEERED
        if self._mode == "direct":
            return Expected(frozenset({"DIRECT"}), KERNEL if steered else "")
        decided = [("GLOBAL", 0, False)] if self._mode == "global" else self._decisions(flow)
        found = list(decided)
        relay = frozenset(
            way
            for target, _, _ in found
            for leaf in self._outbounds.leaves(target)
            if leaf != "PASS" or self._mode == "global"
            for way in _ways(leaf, flow.network)
        )
        kernel = {self._in_kernel(*each) for each in found} if steered else {""}
        return Expected(relay, kernel.pop() if len(kernel) == 1 else "")

    def _decisions(self, flow: Flow) -> Iterator[tuple[str, int, bool]]:
        """Target, fields and whether a balancing group was passed over, for each way it goes."""
        metadata = metadata_of(flow)
        scripts: list[tuple[bool, ...]] = [()]
        while scripts:
            walk = _Walk(self._outbounds, flow.network, scripts.pop())
            found = literal(self._rules, _fresh(metadata), usable=walk.usable)
            yield found.target, found.depends, bool(walk.said)
            scripts += walk.others

    def _in_kernel(self, target: str, depends: int, wavered: bool) -> str:
        leaves = self._outbounds.leaves(target)
        if wavered or len(leaves) > 1 or depends & _UNKNOWABLE:
            return ""
        (leaf,) = leaves
        return KERNEL if leaf in KERNEL_DIRECT else UNREACHED if leaf == HELD else ""


def _ways(leaf: str, network: str) -> tuple[str, ...]:
    if leaf == "PASS":  # in mode global there is no rule to ask on
        return ENDED, HELD
    if network == "udp" and leaf in _DEAF:
        return ENDED, HELD
    return ("DIRECT",) if leaf in DIRECT else (leaf,)


def metadata_of(flow: Flow) -> RequestMetadata:
    """The flow as the rules see it."""
    name, address = flow.host, ""
    try:
        name, address = "", str(ipaddress.ip_address(name))
    except ValueError:
        while not address and name in HOSTS:
            if HOSTS[name] in HOSTS:
                name = HOSTS[name]
            else:
                address = HOSTS[name]
    metadata = RequestMetadata(
        Network(flow.network),
        InboundType.TPROXY,
        SOURCES[flow.client, flow.version],
        flow.source_port,
        address,
        flow.port,
        name,
    )
    metadata.dscp = flow.dscp
    if name and not address:
        found = sorted(NAMES.get(name, ()), key=lambda each: ":" in each)
        metadata.resolved = next(iter(found), "")
    if flow.listener != STEERED:
        listener = LISTENERS[flow.listener]
        metadata.inbound = InboundType.HTTPS if listener.http else InboundType.SOCKS5
        metadata.inbound_name, metadata.inbound_port = flow.listener, listener.port
    return metadata


def _fresh(metadata: RequestMetadata) -> Metadata:
    """The same, nothing asked yet."""
    other = copy_of(metadata)
    assert isinstance(other, RequestMetadata)
    other.dscp = metadata.dscp
    other.inbound_name, other.inbound_port = metadata.inbound_name, metadata.inbound_port
    return other
