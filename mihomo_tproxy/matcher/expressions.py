"""Regular expressions over names, in time that is bounded whatever the peer sends.

mihomo's dialect is .NET's (lookaround and back-references included), with letters of either case
alike. Two engines stand for it here: Python's `re`, which is fast but backtracks, and RE2
(github.com/google/re2/wiki/Syntax), whose time is linear but which has neither lookaround nor
back-references. An expression goes to `re` if a bound of its steps, found from the parsed
expression, is small; else to RE2; else, if only `re` can read it, to `re` with a wider bound.
What then is left is refused. Invariant: no search takes more than `MAX_STEPS` steps, some ten
milliseconds; nearly all take less than a microsecond.

An expression is pickled as its text and compiled when it is first asked. Most never are: a text
that lacks the literal part of an expression needs no engine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_PATTERN: Final = 1024
MAX_TEXT: Final = 255
"""Longer texts are not searched: no name is longer (RFC 1035 2.3.4)."""
EASY_STEPS: Final = 100_000
MAX_STEPS: Final = 1_000_000
_RE2_MEMORY: Final = 1 << 18


class Expression:
    """One expression, searched for anywhere in a lower-case text. Picklable."""

    __slots__ = ("_find", "_linear", "_part", "pattern")

    def __init__(self, pattern: str) -> None:
        """Raises: ValueError: no expression, or one whose time nothing bounds."""
        self.pattern = pattern
        self._linear = False
        self._part = ""
        self._find: Callable[[str], object | None] | None = None
        if len(pattern) > MAX_PATTERN:
            raise ValueError(f"expression of {len(pattern)} characters, at most {MAX_PATTERN}")
        if _subtracts(pattern):
            raise ValueError(f"expression {pattern!r}: a class within a class is not supported")
        # Only where expressions are made, not where they are used.
        from mihomo_tproxy.matcher.backtracking import literal_part

        try:
            bound, why = _bound(pattern)
        except OverflowError as error:
            raise ValueError(f"bad expression {pattern!r}: {error}") from None
        if bound > EASY_STEPS:
            try:
                self._find = compile_linear(pattern)
                self._linear = True
            except ValueError as error:
                if bound > MAX_STEPS:
                    why = why or f"it can take too long, and {error}"
                    raise ValueError(f"bad expression {pattern!r}: {why}") from None
        self._part = literal_part(pattern)

    def search(self, text: str, /) -> object | None:
        """Something if the expression is found in the text, else None."""
        if self._part not in text or len(text) > MAX_TEXT:
            return None
        find = self._find
        if find is None:
            compiler = compile_linear if self._linear else _compile
            find = self._find = compiler(self.pattern)
        return find(text)

    def __getstate__(self) -> tuple[str, str, bool]:
        return self.pattern, self._part, self._linear

    def __setstate__(self, state: tuple[str, str, bool]) -> None:
        self.pattern, self._part, self._linear = state
        self._find = None


def _bound(pattern: str) -> tuple[float, str]:
    """The steps Python's engine may take, and why it cannot read the expression, or ""."""
    from mihomo_tproxy.matcher.backtracking import steps

    try:
        bound = steps(pattern, MAX_TEXT)
        _compile(pattern)
    except (ValueError, RecursionError) as error:
        return float("inf"), str(error)
    return bound, ""


def _compile(pattern: str) -> Callable[[str], object | None]:
    """Raises: ValueError: Python's engine cannot do it."""
    import re

    try:
        return re.compile(pattern, re.IGNORECASE).search
    except re.error as error:
        raise ValueError(str(error)) from None


def compile_linear(pattern: str, *, ignore_case: bool = True) -> Callable[[str], object | None]:
    """RE2's search for an expression.

    Raises:
        ValueError: RE2 cannot read the expression, or is not installed.
    """
    try:
        import re2
    except ImportError:
        raise ValueError("the package google-re2 is not installed") from None

    options = re2.Options()
    options.case_sensitive = not ignore_case
    options.log_errors = False
    options.never_capture = True
    options.max_mem = _RE2_MEMORY
    try:
        search: Callable[[str], object | None] = re2.compile(pattern, options).search
    except re2.error as error:
        (said,) = error.args
        raise ValueError(said.decode() if isinstance(said, bytes) else str(said)) from None
    return search


def _subtracts(pattern: str) -> bool:
    """Whether a class is subtracted from a class (`[a-z-[aeiou]]`), which only .NET can read."""
    inside = False
    place = 0
    while place < len(pattern):
        symbol = pattern[place]
        if symbol == "\\":
            place += 1
        elif not inside and symbol == "[":
            inside = True
            if pattern[place + 1 : place + 2] == "^":
                place += 1
            if pattern[place + 1 : place + 2] == "]":
                place += 1
        elif inside and symbol == "]":
            inside = False
        elif inside and pattern.startswith("-[", place):
            return True
        place += 1
    return False
