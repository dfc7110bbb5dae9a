"""`filter` and `exclude-filter`: expressions over names of proxies, alternatives between backticks.

mihomo's dialect is .NET's. Python's differs in what these filters use only by inline options: .NET
has them anywhere, in force until the enclosing group ends, over its further alternatives too:

    a(?i)b|c        becomes        a(?i:b)|(?i:c)

The expression is the user's, the names are a provider's: a name longer than MAX_NAME is not
searched, an expression that may take milliseconds for a name goes to RE2, whose time is linear, if
that reads it alike, and one whose time nothing bounds is refused.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.matcher.backtracking import steps
from mihomo_tproxy.matcher.expressions import compile_linear

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MAX_PATTERN: Final = 4096
MAX_NAME: Final = 128
MAX_STEPS: Final = 5_000_000_000
"""Of one search, as a bound that nothing comes near: measured, a hundredth of a second. Three `.*`
of an expression stay below it, a fourth does not. Real names take a few hundred."""

EASY_STEPS: Final = 1_000_000

_OF_UNICODE: Final = re.compile(r"\\[bBdDsSwW]")
"""Classes that RE2 takes for those of ASCII."""
_TOKEN: Final = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?(?P<flags>[a-z]*(?:-[a-z]+)?)\)|\(\?<(?![=!])|[(|)]|.",
    re.DOTALL,
)


class NameFilter:
    """The expressions of one filter."""

    def __init__(self, text: str) -> None:
        """Compile the alternatives; "" has none.

        Raises:
            ValueError: one is no expression, or too long.
        """
        self._searches = [_search(part) for part in text.split("`")] if text else []

    def __len__(self) -> int:
        return len(self._searches)

    def matches(self, name: str) -> bool:
        """Whether any expression is found in a name."""
        return len(name) <= MAX_NAME and any(search(name) for search in self._searches)

    def count(self, name: str) -> int:
        """How many of the expressions are found in a name."""
        if len(name) > MAX_NAME:
            return 0
        return sum(search(name) is not None for search in self._searches)

    def sort(self, names: Iterable[str]) -> Iterator[str]:
        """The names that match, each once, in the order of the expressions, then in their own."""
        left = {name: None for name in names if len(name) <= MAX_NAME}
        for search in self._searches:
            found = [name for name in left if search(name)]
            for name in found:
                del left[name]
            yield from found


def _search(text: str) -> Callable[[str], object | None]:
    """As `compile_pattern`, for whether there is a match at all."""
    pattern, bound = _compile(text)
    if bound > EASY_STEPS and not _OF_UNICODE.search(text):
        with suppress(ValueError):
            return compile_linear(pattern.pattern, ignore_case=False)
    _check(text, bound)
    return pattern.search


def compile_pattern(text: str) -> re.Pattern[str]:
    """One expression of .NET's dialect.

    Raises:
        ValueError: it is none, too long, or may take too long.
    """
    pattern, bound = _compile(text)
    _check(text, bound)
    return pattern


def _check(text: str, bound: float) -> None:
    if bound > MAX_STEPS:
        raise ValueError(f"bad expression {text!r}: it can take too long")


def _compile(text: str) -> tuple[re.Pattern[str], float]:
    if len(text) > MAX_PATTERN:
        raise ValueError(f"expression of {len(text)} characters, at most {MAX_PATTERN}")
    try:
        translated = translate(text)
        return re.compile(translated), steps(translated, MAX_NAME)
    except (re.error, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"bad expression {text!r}: {error}") from None


def translate(text: str) -> str:
    """An expression of .NET's dialect in Python's."""
    parts: list[str] = []
    scopes: list[list[str]] = [[]]  # of each open group, the options switched within it
    for token in _TOKEN.finditer(text):
        word = token.group()
        if token["flags"]:
            scopes[-1].append(word[:-1] + ":")
            parts.append(scopes[-1][-1])
            continue
        if word == "|":
            word = ")" * len(scopes[-1]) + "|" + "".join(scopes[-1])
        elif word == ")" and len(scopes) > 1:
            word = ")" * len(scopes.pop()) + ")"
        elif word[0] == "(":
            scopes.append([])
            word = "(?P<" if word == "(?<" else word
        parts.append(word)
    parts.extend(")" * len(options) for options in scopes)
    return "".join(parts)
