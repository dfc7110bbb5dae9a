"""What was found wrong or odd while a configuration was read, each with its place in the file."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from mihomo_tproxy.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mihomo_tproxy.config.yaml import Document


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
        self.warnings: list[str] = []

    def line(self, path: str) -> int | None:
        """The line of a path, or of what is around it."""
        return self._document.line(path)

    def problem(self, path: str, message: str) -> None:
        """The file cannot be used because of this."""
        self.problems.append(Problem(path, message, self._document.line(path)))

    def lack(self, path: str, message: str) -> None:
        """The file asks for what this version does not have: a problem, unless the reader of the
        entry leaves the whole entry out (`leave_out`)."""
        self.problems.append(Lack(path, message, self._document.line(path)))

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
        self.warnings.append(str(Problem(path, message, self._document.line(path))))

    def general_warning(self, message: str) -> None:
        """A warning about no single place."""
        self.warnings.append(message)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`, did you mean 'x'?` with the nearest known word, "" when none is near."""
    nearest = get_close_matches(word, list(known), 1)
    return f", did you mean {nearest[0]!r}?" if nearest else ""
