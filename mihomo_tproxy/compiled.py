"""A configuration taken apart for those who carry it out: the kernel's part and the worker's.

Made by `config.compiling` in a short-lived process (YAML and validation stay there), carried to
the others as values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mihomo_tproxy.dataplane.plan import KernelPlan


class Compiled(NamedTuple):
    """What the supervisor keeps of a configuration."""

    plan: KernelPlan
    worker: bytes
    """The pickled `Config`, for the workers alone."""
    tproxy_port: int
    rules: int
    log_level: int
    """As the logging module counts."""
    warnings: tuple[str, ...]

    def fixed(self) -> tuple[object, ...]:
        """What a reload cannot change: processes, listeners and attachments made at start."""
        return (self.plan.workers, self.plan.local, self.tproxy_port)

    def keep_fixed(self, old: Compiled) -> Compiled:
        """This configuration with the other's fixed part."""
        plan = self.plan._replace(workers=old.plan.workers, local=old.plan.local)
        return self._replace(plan=plan, tproxy_port=old.tproxy_port)
