"""Regular expressions over names of proxies: `filter`, `exclude-filter`, `override.proxy-name`.

mihomo's dialect is .NET's (regexp2); what differs from Python's and is used for names is
translated: `(?<name>...)`, `\\k<name>`, and flags that begin in the middle. Backticks separate
alternatives. Expressions are the user's and names come from strangers: the length of both is
bounded, and an expression that repeats what can match in several ways, whose time may double with
each character, is refused.
"""

from __future__ import annotations

import re
from re import _parser as sre  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_PATTERN: Final = 1024
MAX_NAME: Final = 256
"""Characters of a name that is searched; longer ones do not match."""
MAX_LOOPS: Final = 8
"""Unbounded repetitions in one expression: each may be another power of the name's length."""

_FLAGS: Final = re.compile(r"\(\?([imsx]+)\)")
_NAMED: Final = re.compile(r"\(\?<([A-Za-z_]\w*)>", re.ASCII)
_BACK: Final = re.compile(r"\\k<(\w+)>", re.ASCII)
_CLASS: Final = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_TARGET: Final = re.compile(r"\$(?:(\$)|(&)|(\d+)|\{(\w+)\})", re.ASCII)
_REPEATS: Final = frozenset({sre.MAX_REPEAT, sre.MIN_REPEAT})
_LOOKS: Final = frozenset({sre.ASSERT, sre.ASSERT_NOT})
_MANY: Final = 16
"""A repetition of more than this counts as unbounded."""


class NamePattern:
    """One expression."""

    __slots__ = ("_groups", "_pattern")

    def __init__(self, text: str) -> None:
        """ValueError with a sentence for the user if it is none, or not a safe one."""
        if len(text) > MAX_PATTERN:
            raise ValueError(f"expression of {len(text)} characters, at most {MAX_PATTERN}")
        try:
            translated = _translate(text)
            _check_loops(sre.parse(translated))
            self._pattern = re.compile(translated)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"bad expression {text!r}: {error}") from None
        named = self._pattern.groupindex
        plain = [number + 1 for number in range(self._pattern.groups)]
        order = [number for number in plain if number not in named.values()]
        self._groups: dict[str, int] = {**named, "0": 0}
        # .NET counts groups without a name first.
        for number, group in enumerate([*order, *named.values()], 1):
            self._groups[str(number)] = group

    def search(self, name: str) -> bool:
        """Whether it is found in the name."""
        return len(name) <= MAX_NAME and self._pattern.search(name) is not None

    def replace(self, name: str, target: str) -> str:
        """The name with each match replaced; `$1 ${name} $0 $$` in the target as .NET has them."""
        if len(name) > MAX_NAME:
            return name

        def expand(match: re.Match[str]) -> str:
            return _TARGET.sub(lambda part: self._expand(part, match), target)

        return self._pattern.sub(expand, name)

    def _expand(self, part: re.Match[str], match: re.Match[str]) -> str:
        if part[1]:
            return "$"
        group = self._groups.get("0" if part[2] else part[3] or part[4])
        return part[0] if group is None else match[group] or ""


def parse_alternatives(text: str) -> tuple[NamePattern, ...]:
    """The expressions that backticks separate, () for none. ValueError if one is bad."""
    return tuple(NamePattern(part) for part in text.split("`")) if text else ()


def _translate(text: str) -> str:
    """The expression in Python's dialect."""
    out: list[str] = []
    flags = [""]
    """Of each open bracket: the groups that flags opened within it, to close and to reopen."""
    place = 0
    while place < len(text):
        piece, kind = _piece(text, place)
        place += len(piece)
        if kind == "flags":
            piece = f"(?{_FLAGS.fullmatch(piece)[1]}:"  # type: ignore[index]
            flags[-1] += piece
        elif piece == "|" and flags[-1]:
            piece = ")" * flags[-1].count("(") + "|" + flags[-1]
        elif kind == "open":
            flags.append("")
            piece = piece.replace("(?<", "(?P<") if _NAMED.fullmatch(piece) else piece
        elif piece == ")" and len(flags) > 1:
            piece += ")" * flags.pop().count("(")
        elif kind == "escape":
            piece = _BACK.sub(r"(?P=\1)", piece)
        out.append(piece)
    return "".join(out) + ")" * flags[0].count("(")


def _piece(text: str, place: int) -> tuple[str, str]:
    """The next piece of an expression and what it is."""
    for kind, pattern in (("flags", _FLAGS), ("open", _NAMED), ("escape", _BACK), ("", _CLASS)):
        if found := pattern.match(text, place):
            return found[0], kind
    if text[place] == "\\":
        return text[place : place + 2], "escape"
    return text[place], "open" if text[place] == "(" else ""


def _check_loops(tree: Any) -> None:
    loops = list(_loops(tree, inside=False))
    if any(loops):
        raise ValueError("the expression repeats what varies itself, which may take for ever")
    if len(loops) > MAX_LOOPS:
        raise ValueError(f"the expression has more than {MAX_LOOPS} unbounded repetitions")


def _loops(tree: Any, *, inside: bool) -> Iterator[bool]:
    """For each unbounded repetition False, for each choice within one True."""
    for operator, argument in tree:
        if operator in _REPEATS:
            least, most, repeated = argument
            if inside and least != most:
                yield True
            elif most > _MANY:
                yield False
            yield from _loops(repeated, inside=inside or most > _MANY)
            continue
        if operator in _LOOKS:
            yield from _loops(argument[1], inside=False)  # no way to go on hangs on what it found
            continue
        if inside and operator is sre.BRANCH:
            yield True
        for part in argument if isinstance(argument, tuple) else (argument,):
            for each in part if isinstance(part, list) else (part,):
                if isinstance(each, sre.SubPattern):
                    yield from _loops(each, inside=inside)
