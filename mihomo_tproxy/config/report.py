"""What was found wrong or odd while a configuration was read, each with its place in the file."""

from __future__ import annotations

from difflib import get_close_matches
from itertools import islice
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mihomo_tproxy.config.yaml import Document


MAX_PROBLEMS: Final = 200
MAX_WARNINGS: Final = 200
MAX_WORD: Final = 128
MAX_NAMES: Final = 500
"""Names that are looked through for one that is near: some 10 ms."""


class Lack(Problem):
    """A problem that is ours: the file is right, and asks for what this version does not have."""


class Report:
    """Collects problems and warnings of one document; paths are the file's own words."""

    def __init__(self, document: Document, home: str = "", *, foreign: bool = False) -> None:
        self._document = document
        self.foreign = foreign
        """A stranger wrote it: unknown keys are his affair, and may be many."""
        self.home = home
        """Absolute path of the home directory; "" for a text without one."""
        self.problems: list[Problem] = []
        self._warnings: list[str] = []
        self._unsaid = 0

    @property
    def warnings(self) -> list[str]:
        """Up to MAX_WARNINGS, and how many more there are."""
        more = [f"{self._unsaid} more warnings like these"] if self._unsaid else []
        return [*self._warnings, *more]

    @property
    def full(self) -> bool:
        """Whether further warnings are only counted."""
        return len(self._warnings) >= MAX_WARNINGS

    @property
    def file(self) -> str:
        """The path of the document, "" for a text."""
        return self._document.path

    def line(self, path: str) -> int | None:
        """The line of a path, or of what is around it."""
        return self._document.line(path)

    def problem(self, path: str, message: str) -> None:
        """The file cannot be used because of this."""
        self._add(Problem(path, message, self._document.line(path)))

    def lack(self, path: str, message: str) -> None:
        """The file asks for what this version does not have: a problem, unless the reader of the
        entry leaves the whole entry out (`leave_out`)."""
        self._add(Lack(path, message, self._document.line(path)))

    def leave_out(self, name: str, since: int) -> str:
        """Turns lacks into a warning that the entry of this name is left out; the reason.

        Counted are those reported since there were so many problems; "" if there are none, or
        anything else is wrong as well.
        """
        found = self.problems[since:]
        if not found or not all(isinstance(problem, Lack) for problem in found):
            return ""
        del self.problems[since:]
        reason = "; ".join(dict.fromkeys(problem.message for problem in found))
        self.warning(found[0].path, f"{name!r} is left out: {reason}")
        return reason

    def warning(self, path: str, message: str) -> None:
        """The file can be used, but the user should know."""
        if self.full:
            self._unsaid += 1
        else:
            self._warnings.append(str(Problem(path, message, self._document.line(path))))

    def general_warning(self, message: str) -> None:
        """A warning about no single place."""
        if self.full:
            self._unsaid += 1
        else:
            self._warnings.append(str(Problem("", message)))

    def _add(self, problem: Problem) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)
        elif not self.foreign:
            raise too_many(self.problems)


def too_many(problems: list[Problem]) -> ConfigError:
    """The error of a file with MAX_PROBLEMS, beyond which nobody reads on."""
    ordered = sorted(problems, key=lambda problem: problem.line or 0)
    return ConfigError([*ordered, Problem("", "that is enough: what follows was not looked at")])


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`, did you mean 'x'?` with the nearest known word, "" when none is near."""
    if len(word) > MAX_WORD:
        return ""
    nearest = get_close_matches(word, list(islice(known, MAX_NAMES)), 1)
    return f", did you mean {nearest[0]!r}?" if nearest else ""
