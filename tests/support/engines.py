"""Engines of written rules, and the literal loop they are compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mihomo_tproxy.model import fields
from mihomo_tproxy.model.enums import Network, TunnelMode
from mihomo_tproxy.rule.chain import steered_constants
from mihomo_tproxy.rule.engine import Engine
from mihomo_tproxy.rule.flatten import build_image
from mihomo_tproxy.rule.image import Image
from mihomo_tproxy.rule.registry import parse_rule

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from mihomo_tproxy.model.interfaces import Rule
    from mihomo_tproxy.model.metadata import Metadata


def engine_of(
    rules: Iterable[Rule],
    mode: TunnelMode = TunnelMode.RULE,
    *,
    names_observed: bool = True,
    conditional: Collection[str] = (),
) -> Engine:
    constant = 0 if names_observed else steered_constants(names_observed=False)
    return Engine(Image(build_image(rules, conditional)), mode, constant=constant)


def engine_of_lines(*lines: str, **options: object) -> Engine:
    return engine_of([parse_rule(line) for line in lines], **options)  # type: ignore[arg-type]


class Expected(NamedTuple):
    """What the literal loop says."""

    target: str
    rule: Rule | None
    depends: int


def literal(
    rules: Sequence[Rule],
    flow: Metadata,
    conditional: Collection[str] = (),
    usable: Callable[[str], bool] = lambda target: True,
) -> Expected:
    """First match in the order of the list, as mihomo's loop goes."""
    depends = 0
    for rule in rules:
        depends |= rule.fields
        if any(each in conditional for each in rule.targets()):
            depends |= fields.NETWORK
        target = rule.decide(flow)
        if target and usable(target):
            return Expected(target, rule, depends)
    return Expected("DIRECT", None, depends)


def copy_of(flow: Metadata) -> Metadata:
    """The same flow, nothing asked yet."""
    other = type(flow)(
        flow.network,
        flow.inbound,
        flow.source,
        flow.source_port,
        flow.destination,
        flow.destination_port,
        flow.host,
    )
    if flow.resolved is not None:
        other.resolved = flow.resolved
    return other


def other_network(network: Network) -> Network:
    return Network.UDP if network is Network.TCP else Network.TCP
