"""`override.proxy-name`: what an expression finds in a name becomes something else.

Targets are .NET's, as mihomo has them: `$1`, `${name}`, `$0` and `$&` for the whole match, `$$` for
a dollar; what names no group stays as it is. Groups without a name are numbered before those with.
"""

from __future__ import annotations

import re
from typing import Final

from mihomo_tproxy.config.filters import MAX_NAME, compile_pattern

_PART: Final = re.compile(r"\$(?:(\$)|(&)|(\d+)|\{(\w+)\})", re.ASCII)


class Renaming:
    """One expression and what its matches become."""

    __slots__ = ("_groups", "_pattern", "_target")

    def __init__(self, pattern: str, target: str) -> None:
        """Compile the expression.

        Raises:
            ValueError: it is none, or may take too long.
        """
        self._pattern = compile_pattern(pattern)
        self._target = target
        named = self._pattern.groupindex
        plain = [number + 1 for number in range(self._pattern.groups)]
        order = [number for number in plain if number not in named.values()]
        self._groups = {**named, "0": 0}
        for number, group in enumerate([*order, *named.values()], 1):
            self._groups[str(number)] = group

    def apply(self, name: str) -> str:
        """The name with each match replaced; one too long to be searched as it is."""
        return name if len(name) > MAX_NAME else self._pattern.sub(self._expand, name)

    def _expand(self, match: re.Match[str]) -> str:
        return _PART.sub(lambda part: self._value(part, match), self._target)

    def _value(self, part: re.Match[str], match: re.Match[str]) -> str:
        if part[1]:
            return "$"
        group = self._groups.get("0" if part[2] else part[3] or part[4])
        return part[0] if group is None else match[group] or ""
