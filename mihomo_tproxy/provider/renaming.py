"""`override.proxy-name`: what an expression finds in a name becomes something else.

Targets are .NET's, as mihomo has them: `$1`, `${name}`, `$0` and `$&` for the whole match, `$$` for
a dollar; what names no group stays as it is. Groups without a name are numbered before those with.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.config.filters import MAX_NAME, compile_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_TARGET: Final = 1024
"""Characters; a target is written once for each match."""

_PART: Final = re.compile(r"\$(?:(\$)|(&)|(\d+)|\{(\w+)\})", re.ASCII)


class Renaming:
    """One expression and what its matches become."""

    __slots__ = ("_parts", "_pattern")

    def __init__(self, pattern: str, target: str) -> None:
        """Compile the expression.

        Raises:
            ValueError: it is none, may take too long, or the target is too long.
        """
        if len(target) > MAX_TARGET:
            raise ValueError(f"target of {len(target)} characters, at most {MAX_TARGET}")
        self._pattern = compile_pattern(pattern)
        named = self._pattern.groupindex
        plain = [number + 1 for number in range(self._pattern.groups)]
        order = [number for number in plain if number not in named.values()]
        groups: dict[str, int] = {**named, "0": 0}
        for number, group in enumerate([*order, *named.values()], 1):
            groups[str(number)] = group
        self._parts = list(_split(target, groups))

    def apply(self, name: str) -> str:
        """The name with each match replaced; one too long to be searched as it is."""
        return name if len(name) > MAX_NAME else self._pattern.sub(self._expand, name)

    def _expand(self, match: re.Match[str]) -> str:
        return "".join(part if isinstance(part, str) else match[part] or "" for part in self._parts)


def _split(target: str, groups: dict[str, int]) -> Iterator[str | int]:
    """A target in pieces: text, and numbers of groups."""
    at = 0
    for part in _PART.finditer(target):
        yield target[at : part.start()]
        at = part.end()
        if part[1]:
            yield "$"
        else:
            yield groups.get("0" if part[2] else part[3] or part[4], part[0])
    yield target[at:]
