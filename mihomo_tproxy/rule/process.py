"""`PROCESS-NAME`, `PROCESS-PATH`, and both with `-REGEX` and `-WILDCARD`: the client's program.

Only flows of this host have one; others have "" for both, which an expression or `*` can match.
The name is the last part of the path. Letters of either case are alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.matcher.expressions import Expression
from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.base import BaseRule
from mihomo_tproxy.rule.domain_wildcard import wildcard_match

if TYPE_CHECKING:
    from mihomo_tproxy.model.metadata import Metadata


class _Process(BaseRule):
    """What the six kinds share."""

    __slots__ = ("_by_name",)

    def __init__(self, kind: str, payload: str, target: str, options: frozenset[str]) -> None:
        super().__init__(kind, payload, target, fields.PROCESS)
        self._by_name = kind.startswith("PROCESS-NAME")

    def _subject(self, metadata: Metadata) -> str:
        path = metadata.process_path
        return path.rpartition("/")[2] if self._by_name else path


class Process(_Process):
    """Matches the whole name or path."""

    __slots__ = ("_text",)

    def __init__(self, kind: str, payload: str, target: str, options: frozenset[str]) -> None:
        super().__init__(kind, payload, target, options)
        self._text = payload.lower()

    def match(self, metadata: Metadata) -> bool:
        return self._subject(metadata).lower() == self._text


class ProcessWildcard(_Process):
    """Matches the whole name or path by a pattern; see `rule.domain_wildcard`."""

    __slots__ = ("_pattern",)

    def __init__(self, kind: str, payload: str, target: str, options: frozenset[str]) -> None:
        super().__init__(kind, payload, target, options)
        self._pattern = payload.lower()

    def match(self, metadata: Metadata) -> bool:
        return wildcard_match(self._pattern, self._subject(metadata).lower())


class ProcessRegex(_Process):
    """Searches the name or path for an expression; see `matcher.expressions`."""

    __slots__ = ("expression",)

    def __init__(self, kind: str, payload: str, target: str, options: frozenset[str]) -> None:
        super().__init__(kind, payload, target, options)
        self.expression = Expression(payload)

    def match(self, metadata: Metadata) -> bool:
        return self.expression.search(self._subject(metadata).lower()) is not None
