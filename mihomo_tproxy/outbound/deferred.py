"""An outbound that is built when it is picked first: providers bring thousands, few are used.

Its dialer is found when it is made, with everybody else's: what is built later asks no registry,
which may have been replaced by then.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mihomo_tproxy.outbound.base import Picker
from mihomo_tproxy.outbound.reject import Reject

if TYPE_CHECKING:
    from collections.abc import Callable

    from mihomo_tproxy.config.specs.base import ProxySpec
    from mihomo_tproxy.model.enums import Verdict
    from mihomo_tproxy.model.metadata import Metadata
    from mihomo_tproxy.outbound.base import Outbound
    from mihomo_tproxy.outbound.env import OutboundEnv, Underlay

    Build = Callable[[ProxySpec, OutboundEnv], Outbound]

log = logging.getLogger("outbound")


class Deferred(Picker):
    """Picks the outbound of a spec; one that cannot be built rejects, and is counted."""

    __slots__ = ("__weakref__", "_build", "_built", "_env", "_spec", "_underlay", "name")

    def __init__(self, spec: ProxySpec, env: OutboundEnv, build: Build) -> None:
        self.name = spec.name
        self._spec = spec
        self._env = env
        self._build = build
        self._built: Outbound | None = None
        self._underlay: Underlay | None = env.underlay(spec) if spec.dialer_proxy else None

    def pick(self, metadata: Metadata | None) -> Outbound:
        """The outbound itself."""
        return self._built or self._built_now()

    @property
    def verdict(self) -> Verdict:
        """The outbound's."""
        return self.pick(None).verdict

    @property
    def udp(self) -> bool:
        """The outbound's."""
        return self.pick(None).udp

    @property
    def passes(self) -> bool:
        """The outbound's."""
        return self.pick(None).passes

    def _built_now(self) -> Outbound:
        env = self._env if self._underlay is None else self._env.over(self._underlay)
        try:
            self._built = self._build(self._spec, env)
        except Exception as error:
            log.debug("%s cannot be built: %r", self.name, error)
            env.context.tracker.count("outbound-broken")
            self._built = Reject(env.context.tracker, env.unreachable, self.name)
        return self._built
