"""What listeners need besides the transparent ones: names, so that asking imports nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.config.specs.listener import ListenerType

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mihomo_tproxy.config.specs.listener import ListenerSpec

CLIENT_MODULE: Final = "mihomo_tproxy.inbound.inbound"
"""HTTP and SOCKS."""
_NEED_NONE: Final = (ListenerType.REDIR, ListenerType.TPROXY)


def modules_of(specs: Iterable[ListenerSpec]) -> tuple[str, ...]:
    """The modules that a list of listeners needs."""
    return (CLIENT_MODULE,) if any(spec.type not in _NEED_NONE for spec in specs) else ()
