"""From a configuration file to what the processes need, see `mihomo_tproxy.compiled`."""

from __future__ import annotations

import logging
import pickle
from dataclasses import replace
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.compiled import Compiled
from mihomo_tproxy.config import load
from mihomo_tproxy.config.modules import worker_modules
from mihomo_tproxy.dataplane.plan import OWN_MARK, KernelPlan
from mihomo_tproxy.model.fields import NAMES_OBSERVED
from mihomo_tproxy.rule.static import masks, static_prefixes

if TYPE_CHECKING:
    from mihomo_tproxy.config.schema import Config

LEVELS: Final = {
    "silent": logging.CRITICAL + 1,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}


def compile_file(path: str) -> Compiled:
    """Read, validate and take apart a file.

    Raises:
        ConfigError: with everything that is wrong.
    """
    return compile_config(load(path))


def compile_config(config: Config) -> Compiled:
    """Take a valid configuration apart."""
    if config.gateway.local and not config.routing_mark:
        config = replace(config, routing_mark=OWN_MARK)
    pickled = pickle.dumps(config, pickle.HIGHEST_PROTOCOL)
    return Compiled(
        plan=_kernel_plan(config),
        worker=pickled,
        modules=worker_modules(config, pickled),
        rules=len(config.rules),
        log_level=LEVELS[config.log_level],
        warnings=config.warnings,
    )


def _kernel_plan(config: Config) -> KernelPlan:
    gateway = config.gateway
    # With an interface of its own a DIRECT flow may not follow the kernel's routing.
    cache = gateway.verdict_cache and not config.interface_name
    static = (
        static_prefixes(config.rules, config.mode, names_observed=NAMES_OBSERVED) if cache else []
    )
    return KernelPlan(
        patterns=gateway.lan,
        bypass=gateway.bypass,
        static=tuple((each.key, each.length, int(each.verdict)) for each in static),
        masks=masks(config.rules, config.mode, names_observed=NAMES_OBSERVED) if cache else (),
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
    marks += [listener.routing_mark for listener in config.listeners]
    return reduce(or_, marks, config.routing_mark)
