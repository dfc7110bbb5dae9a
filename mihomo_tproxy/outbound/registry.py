"""Outbounds by name, as the rules' targets name them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mihomo_tproxy.outbound.base import Outbound


class OutboundRegistry(dict[str, "Outbound"]):
    """Name -> outbound. A name is added once; a reload builds a new registry."""

    def __init__(self, outbounds: Iterable[Outbound] = ()) -> None:
        super().__init__()
        for outbound in outbounds:
            self.add(outbound)

    def add(self, outbound: Outbound) -> None:
        """Register an outbound under its name.

        Raises:
            ValueError: the name is taken.
        """
        if outbound.name in self:
            raise ValueError(f"two outbounds are called {outbound.name!r}")
        self[outbound.name] = outbound
