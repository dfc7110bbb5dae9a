"""The lines of a rule provider, in the formats `text` and `yaml`.

text: one rule in each line; blanks around it, empty lines, and lines that begin with `#` or `//`
are left out.

yaml: mihomo does not read such a file as one document, and neither does this: the first line that
opens a list `payload` or `rules` is the head; every line after it is read as if it stood alone
under the head. Whatever is not one text under the head so is no rule: flow lists, block scalars,
nested lists, other keys. (Observed with mihomo 1.19.32; files that are broken in one place rely on
it.) Common lines are recognized by a regular expression, all others go through the YAML parser,
with the same result.

Invariants, for files of strangers: time and memory are linear in the size of the file, which the
caller bounds; no more than `MAX_LINES` lines are looked at, none of more than `MAX_LINE`
characters, and the slow parser sees no more than `MAX_ODD`. Bytes that are not UTF-8 become U+FFFD.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

import yaml

MAX_LINES: Final = 4_000_000
MAX_LINE: Final = 4096
MAX_ODD: Final = 8 << 20
"""Characters of YAML that are not written in the common way: some 3 s of parsing."""
ODD_LINE: Final = 100
"""What a line costs beside its characters, in characters."""

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})

# YAML's printable characters without its line breaks, blanks, and U+FEFF.
_WIDE: Final = "\u00a1-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff"
_HEAD: Final = re.compile(r"(?:payload|rules): *(?:#[ -~]*)?\r?")
_ITEM: Final = re.compile(
    rf"""
    (?P<indent>\ *+)-\ ++
    (?: '(?P<single>[ -&(-~{_WIDE}]*+(?:\'\'[ -&(-~{_WIDE}]*+)*)' (?: \ +\#[ -~{_WIDE}]*+ )?
      | "(?P<double>[ !#-\[\]-~{_WIDE}]*+)" (?: \ +\#[ -~{_WIDE}]*+ )?
      | (?P<plain>[0-9A-Za-z+./^$(_{_WIDE}][ -~{_WIDE}]*+)
    )
    \ *+ \r?
    """,
    re.VERBOSE,
)
"""Plain text comes with its comment. Possessive are only classes: Python 3.11 before .4 goes on at
the wrong place after a group that is (python/cpython#101955)."""


class Lines(NamedTuple):
    """The rules of a file, as texts."""

    rules: list[str]
    skipped: int = 0
    """Lines that are no rule, whatever the rules should be."""


def text_lines(data: bytes) -> Lines:
    """The rules of a file of the format `text`.

    Raises:
        ValueError: too many lines.
    """
    rules: list[str] = []
    skipped = 0
    for line in map(str.strip, _split(data)):
        if not line or line[0] == "#" or line.startswith("//"):
            continue
        if len(line) > MAX_LINE:
            skipped += 1
        else:
            rules.append(line)
    return Lines(rules, skipped)


def yaml_lines(data: bytes) -> Lines:
    """The rules of a file of the format `yaml`.

    Raises:
        ValueError: no list that could hold rules, or beyond a limit.
    """
    return _YamlLines(_split(data)).read()


def _split(data: bytes) -> list[str]:
    if data.count(b"\n") >= MAX_LINES:
        raise ValueError(f"more than {MAX_LINES} lines")
    return data.decode("utf-8-sig", "replace").split("\n")


class _YamlLines:
    """Reads one file."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._odd = 0

    def read(self) -> Lines:
        start, head = self._find_head()
        rules: list[str] = []
        skipped = 0
        head_indent = len(head) - len(head.lstrip(" "))
        for line in self._lines[start + 1 :]:
            found = _ITEM.fullmatch(line) if len(line) <= MAX_LINE else None
            scalar = _scalar(found) if found else None
            if found and scalar is not None and found.end("indent") >= head_indent:
                rule: str | None = scalar
            elif not (stripped := line.strip()) or stripped[0] == "#":
                continue
            else:
                rule = self._odd_line(head, line)
            if rule:
                rules.append(rule)
            elif rule is None:
                skipped += 1
        return Lines(rules, skipped)

    def _find_head(self) -> tuple[int, str]:
        for place, line in enumerate(self._lines):
            if _HEAD.fullmatch(line):
                return place, line
            # Some line that may well open the list: whether it does, an item under it tells.
            likely = ("payload" in line or "rules" in line) and line.lstrip()[0] != "#"
            if likely and self._odd_line(line, "  - x") == "x":
                return place, line
        raise ValueError("no list `payload`")

    def _odd_line(self, head: str, line: str) -> str | None:
        if max(len(head), len(line)) > MAX_LINE:
            return None
        self._odd += len(head) + len(line) + ODD_LINE
        if self._odd > MAX_ODD:
            raise ValueError("too many lines in an uncommon notation")
        return item_of(head, line)


def _scalar(found: re.Match[str]) -> str | None:
    """The text of an item; None when it takes a parser to tell."""
    plain = found["plain"]
    if plain is not None:
        plain = plain.partition(" #")[0].rstrip(" ")
        if ":" in plain and (": " in plain or plain[-1] == ":"):
            return None
        return "" if plain in _NULL else plain
    single = found["single"]
    return found["double"] if single is None else single.replace("''", "'")


def item_of(head: str, line: str) -> str | None:
    """What YAML finds in a line under a head: a text, "" for a null, None for anything else."""
    try:
        loader = _LOADER(f"{head}\n{line}\n")
        try:
            return _only_item(loader)
        finally:
            loader.dispose()
    except (yaml.YAMLError, UnicodeEncodeError):
        return None


_BEGINNING: Final = (
    yaml.StreamStartEvent,
    yaml.DocumentStartEvent,
    yaml.MappingStartEvent,
    yaml.ScalarEvent,
    yaml.SequenceStartEvent,
    yaml.ScalarEvent,
)
_ENDING: Final = (
    yaml.SequenceEndEvent,
    yaml.MappingEndEvent,
    yaml.DocumentEndEvent,
    yaml.StreamEndEvent,
)


def _only_item(loader: Any) -> str | None:
    begin = [loader.get_event() for kind in _BEGINNING if loader.check_event(kind)]
    if len(begin) < len(_BEGINNING) or begin[3].value not in ("payload", "rules"):
        return None
    if not all(loader.check_event(kind) and loader.get_event() for kind in _ENDING):
        return None
    item = begin[5]
    return "" if item.implicit[0] and item.value in _NULL else str(item.value)
