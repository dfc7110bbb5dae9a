"""The verdict map of a relay without a kernel side."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mihomo_tproxy.model.enums import Verdict
    from mihomo_tproxy.model.metadata import Metadata


class NullVerdictMap:
    """Learns nothing: every flow comes to the relay."""

    def learn(self, metadata: Metadata, depends: int, verdict: Verdict) -> bool:
        """Nothing is cached."""
        return False
