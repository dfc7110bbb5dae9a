"""What was found wrong or odd while a configuration was read, each with its place in the file."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from mihomo_tproxy.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mihomo_tproxy.config.yaml import Document


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

    def problem(self, path: str, message: str) -> None:
        """The file cannot be used because of this."""
        self.problems.append(Problem(path, message, self._document.line(path)))

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
