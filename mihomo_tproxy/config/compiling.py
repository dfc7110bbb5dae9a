"""From a configuration file to what the processes need, see `mihomo_tproxy.compiled`."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from mihomo_tproxy.compiled import Compiled
from mihomo_tproxy.config import load
from mihomo_tproxy.config.modules import image_modules, worker_modules
from mihomo_tproxy.config.specs.group import GroupType
from mihomo_tproxy.config.specs.provider import Vehicle
from mihomo_tproxy.dataplane.plan import OWN_MARK, STATIC, KernelPlan
from mihomo_tproxy.errors import Problem
from mihomo_tproxy.keeper.store import FILE as STORE_FILE
from mihomo_tproxy.keeper.store import load_selections
from mihomo_tproxy.model.fields import NAMES_OBSERVED
from mihomo_tproxy.rule.flatten import build_image
from mihomo_tproxy.rule.static import masks, static_prefixes

if TYPE_CHECKING:
    from mihomo_tproxy.config.schema import Config
    from mihomo_tproxy.model.enums import TunnelMode
    from mihomo_tproxy.rule.static import StaticVerdict


def compile_file(path: str, home: str, image: int, mode: TunnelMode | None = None) -> Compiled:
    """Read, validate and take apart a file.

    Args:
        home: home directory; "" for the file's own.
        image: descriptor that the rules' image is written to.
        mode: in place of the file's.

    Raises:
        ConfigError: with everything that is wrong.
    """
    config = load(path, home)
    if mode is not None:
        config = replace(config, mode=mode)
    modules = write_image(config, image)
    compiled = compile_config(config)
    compiled = compiled._replace(modules=tuple(sorted({*compiled.modules, *modules})))
    try:
        return compiled._replace(selected=stored_selections(config))
    except OSError as error:  # the gateway runs without what was chosen before
        said = str(Problem("", f"selections are not restored: {error}"))
        return compiled._replace(warnings=(*compiled.warnings, said))


def compile_config(config: Config) -> Compiled:
    """Take a valid configuration apart, but for the rules' image."""
    if config.gateway.local and not config.routing_mark:
        config = replace(config, routing_mark=OWN_MARK)
    pickled = pickle.dumps(replace(config, rules=(), warnings=()), pickle.HIGHEST_PROTOCOL)
    return Compiled(
        plan=_kernel_plan(config),
        worker=pickled,
        modules=worker_modules(config, pickled),
        rules=len(config.rules),
        log_level=config.log_level.number,
        warnings=config.warnings,
        mode=config.mode,
        groups=config.groups,
        selected={},
        keeper=needs_keeper(config),
        home=config.home if config.store_selected else "",
    )


def stored_selections(config: Config) -> dict[str, str]:
    """What was selected before, if it is to be remembered and anything was."""
    if not config.store_selected or not os.path.exists(os.path.join(config.home, STORE_FILE)):
        return {}
    return load_selections(config.home)


def write_image(config: Config, descriptor: int) -> frozenset[str]:
    """The rules' image, into an empty file; the modules of what is an object in it."""
    image = build_image(config.rules, conditional_targets(config))
    view = memoryview(image)
    while view:
        view = view[os.write(descriptor, view) :]
    return image_modules(image)


def conditional_targets(config: Config) -> frozenset[str]:
    """Targets that may turn out to be unusable for a flow: the next rule is asked then."""
    without_udp = {each.name for each in config.proxies if each.type == "http" or not each.udp}
    return frozenset({"PASS", "PASS-RULE", *without_udp, *(group.name for group in config.groups)})


def needs_keeper(config: Config) -> bool:
    """Whether there is anything to check, to download, or a file to watch."""
    providers = (*config.proxy_providers, *config.rule_providers)
    return (
        any(group.type is not GroupType.SELECT or group.interval_s for group in config.groups)
        or any(provider.vehicle is not Vehicle.INLINE for provider in providers)
        or any(provider.health_check is not None for provider in config.proxy_providers)
        or bool(config.geo.missing or (config.geo.auto_update and config.geo.needed))
    )


def _kernel_plan(config: Config) -> KernelPlan:
    gateway = config.gateway
    # With an interface of its own a DIRECT flow may not follow the kernel's routing.
    cache = gateway.verdict_cache and not config.interface_name
    static: list[StaticVerdict] = []
    field_masks: tuple[int, ...] = ()
    if cache:
        conditional = conditional_targets(config)
        known = {"names_observed": NAMES_OBSERVED, "local": gateway.local}
        static = static_prefixes(config.rules, config.mode, conditional=conditional, **known)
        field_masks = masks(config.rules, config.mode, conditional=conditional, **known)
    return KernelPlan(
        patterns=gateway.lan,
        bypass=gateway.bypass,
        static=b"".join(
            STATIC.pack(key.to_bytes(16, "big"), length, verdict) for key, length, verdict in static
        ),
        masks=field_masks,
        include=gateway.clients.include_prefixes,
        exclude=gateway.clients.exclude_prefixes,
        include_macs=gateway.clients.include_macs,
        exclude_macs=gateway.clients.exclude_macs,
        workers=gateway.workers,
        routing_mark=config.routing_mark,
        used_marks=_used_marks(config),
        cache=cache,
        closed=gateway.on_failure == "closed",
        private=not gateway.bypass_private,
        ipv6=config.ipv6,
        local=gateway.local,
    )


def _used_marks(config: Config) -> int:
    """Bits of the file's own mark, and of those its proxies and listeners have."""
    marks = [proxy.routing_mark for proxy in config.proxies]
    marks += [proxy.routing_mark for proxy in config.provider_proxies]
    marks += [listener.routing_mark for listener in config.listeners]
    return reduce(or_, marks, config.routing_mark)
