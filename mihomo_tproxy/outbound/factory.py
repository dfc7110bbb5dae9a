"""Outbounds from their specs. The module of a type is imported when the first of it is built."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from mihomo_tproxy.config.specs.base import ProxySpec
from mihomo_tproxy.group.building import build_groups
from mihomo_tproxy.model.group_state import EMPTY_STATE
from mihomo_tproxy.outbound.deferred import Deferred
from mihomo_tproxy.outbound.direct import Direct
from mihomo_tproxy.outbound.modules import module_of
from mihomo_tproxy.outbound.registry import OutboundRegistry
from mihomo_tproxy.outbound.reject import Pass, Reject, RejectDrop

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mihomo_tproxy.config.specs.group import GroupSpec
    from mihomo_tproxy.model.group_state import GroupState
    from mihomo_tproxy.outbound.base import Outbound
    from mihomo_tproxy.outbound.env import OutboundEnv


def build_outbounds(
    specs: Iterable[ProxySpec],
    env: OutboundEnv,
    groups: Iterable[GroupSpec] = (),
    state: GroupState = EMPTY_STATE,
    provided: Iterable[ProxySpec] = (),
) -> OutboundRegistry:
    """The built-in outbounds, those of the file, its groups, and what providers brought.

    The last are built when they are picked first, and reject if they cannot be; any other failure
    is the caller's.
    """
    context = env.context
    registry = OutboundRegistry(
        [
            _direct(ProxySpec("DIRECT", "direct"), env),
            _direct(ProxySpec("COMPATIBLE", "direct"), env),
            Reject(context.tracker, env.unreachable),
            RejectDrop(context.reactor, context.tracker),
            Pass(context.tracker),
            Pass(context.tracker, "PASS-RULE"),
        ]
    )
    for spec in specs:
        registry.add(_build(spec, env))
    for spec in provided:
        registry.add(Deferred(spec, env, _build))
    build_groups(groups, registry, state, context.reactor)
    env.outbounds = registry
    return registry


def _build(spec: ProxySpec, env: OutboundEnv) -> Outbound:
    if spec.type == "reject":
        return Reject(env.context.tracker, env.unreachable, spec.name)
    if spec.type == "direct":
        return _direct(spec, env)
    outbound: Outbound = import_module(module_of(spec.type)).build(spec, env)
    return outbound


def _direct(spec: ProxySpec, env: OutboundEnv) -> Direct:
    # The kernel forwards by its own routes and knows no options; the file's own mark it shares.
    kernel = not (spec.routing_mark or spec.interface_name or env.interface_name)
    kernel = kernel and spec.ip_version not in ("ipv4", "ipv6")
    return Direct(env.context, env.dialer(spec), spec.name, kernel=kernel, udp=spec.udp)
