"""A configuration taken apart for those who carry it out: the kernel's part and the worker's.

Made by `config.compiling` in a short-lived process (YAML, validation, rules as objects stay there),
carried to the others as values; the rules' image goes by a descriptor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mihomo_tproxy.config.specs.group import GroupSpec
    from mihomo_tproxy.dataplane.plan import KernelPlan
    from mihomo_tproxy.model.enums import TunnelMode


class Compiled(NamedTuple):
    """What the supervisor keeps of a configuration."""

    plan: KernelPlan
    worker: bytes
    """The pickled `Config` without its rules, for the other processes alone."""
    modules: tuple[str, ...]
    """What it and its outbounds and listeners are made of, for the workers to share."""
    rules: int
    log_level: int
    """As the logging module counts."""
    warnings: tuple[str, ...]
    mode: TunnelMode
    groups: tuple[GroupSpec, ...]
    selected: dict[str, str]
    """What the store remembers of the groups' selections."""
    keeper: bool
    """Whether there is anything to check or to download."""
    home: str
    """The store's directory; "" keeps nothing."""

    def keep_fixed(self, old: Compiled) -> Compiled:
        """This configuration with the other's fixed part: the processes made at start.

        The gateway's own traffic can be let go, but not taken on: sockets the relay has already
        opened carry no mark, and would come back to it.
        """
        local = self.plan.local and old.plan.local
        plan = self.plan._replace(workers=old.plan.workers, local=local)
        return self._replace(plan=plan)
