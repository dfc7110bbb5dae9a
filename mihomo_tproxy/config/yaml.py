"""YAML 1.2 (core schema, https://yaml.org/spec/1.2.2/#103-core-schema) to plain values with lines.

mihomo's files are YAML 1.2 while PyYAML resolves YAML 1.1 (`no`, `on`, `12:30` become other things
there). Only its event stream is used here, which is the same in both; anchors, `<<` merging (mihomo
users rely on it) and scalar types are resolved here, in one pass.
Invariants, for files of strangers: size, depth and the number of values that aliases stand for are
bounded; an anchor cannot contain itself; a key given twice is a problem, not a choice. Mapping
keys are always text.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import yaml

from mihomo_tproxy.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

Value = str | int | float | bool | list["Value"] | dict[str, "Value"] | None

MAX_BYTES: Final = 16 << 20
MAX_DEPTH: Final = 64
MAX_VALUES: Final = 2_000_000
"""Written out, and again those that aliases stand for."""
MAX_PATH: Final = 256
"""Characters of a path; what is deeper has the line of what is around it."""
MAX_PATHS: Final = 64 << 20
"""Characters of all paths."""
MAX_PROBLEMS: Final = 200
MAX_NUMBER: Final = 64
"""Characters of a number; more is text."""

_TAG: Final = "tag:yaml.org,2002:"
_FIRST: Final = frozenset({"", *"~nNtTfF+-.0123456789"})
"""How a plain scalar begins that may be something else than text."""
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL: Final = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_SPECIAL_FLOAT: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Document(NamedTuple):
    """A parsed file."""

    value: Value
    lines: dict[str, int]
    """The 1-based line of each value, by path: `rules[3]`, `gateway.lan`."""
    problems: list[Problem]
    """What is wrong with it as YAML, yet leaves the rest readable."""
    path: str = ""
    """The file, absolute and without symbolic links; "" for a text."""

    def line(self, path: str) -> int | None:
        """The line of a path, or of the nearest value around it that has one."""
        path = path[: MAX_PATH + MAX_NUMBER]
        while path and path not in self.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.lines.get(path)


def load_file(path: str) -> Document:
    """The document in a file.

    Raises:
        ConfigError: it cannot be read, is too large, not UTF-8, or not YAML.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _refuse(f"cannot read {path}: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise _refuse(f"the file is larger than {MAX_BYTES >> 20} MiB")
    try:
        return load_text(data.decode("utf-8-sig"))._replace(path=os.path.realpath(path))
    except UnicodeDecodeError as error:
        raise _refuse("the file is not UTF-8", data.count(b"\n", 0, error.start) + 1) from None


def load_text(text: str) -> Document:
    """The document in a text.

    Raises:
        ConfigError: not YAML, or beyond a limit.
    """
    if len(text) > MAX_BYTES:
        raise _refuse(f"the file is larger than {MAX_BYTES >> 20} MiB")
    try:
        loader = _LOADER(text)
        try:
            return _Builder(loader).document()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = error.problem or error.context or "syntax error"
        raise _refuse(f"not YAML: {reason}", mark.line + 1 if mark else None) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _refuse(f"not YAML: {error.reason}", line) from None
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise _refuse("not YAML: the text holds a lone surrogate", line) from None


def resolve_plain(text: str) -> Value:
    """The value of an unquoted scalar by the core schema."""
    if text[:1] not in _FIRST:
        return text
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if len(text) > MAX_NUMBER:
        return text
    if _INT.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL_FLOAT.fullmatch(text):
        return float(text.replace(".", "").lower())
    return text


def _refuse(message: str, line: int | None = None) -> ConfigError:
    return ConfigError([Problem("", message, line)])


class _Built(NamedTuple):
    value: Value
    size: int
    """Values inside, aliases expanded, itself included."""


class _Builder:
    """Turns one event stream into one document."""

    def __init__(self, loader: yaml.SafeLoader) -> None:
        self._next: Callable[[], Any] = loader.get_event
        self._peek: Callable[[type[yaml.Event]], bool] = loader.check_event
        self._anchors: dict[str, _Built] = {}
        self._open_anchors: set[str] = set()
        self._lines: dict[str, int] = {}
        self._problems: list[Problem] = []
        self._expanded = 0
        self._written = 0
        self._paths = 0

    def document(self) -> Document:
        self._next()
        value: Value = None
        if not self._peek(yaml.StreamEndEvent):
            self._next()
            value = self._node("", 0).value
            self._next()
            if not self._peek(yaml.StreamEndEvent):
                line = self._next().start_mark.line + 1
                raise _refuse("a second document begins here, one is expected", line)
        return Document(value, self._lines, self._problems)

    def _node(self, path: str, depth: int) -> _Built:
        event = self._next()
        line: int = event.start_mark.line + 1
        self._written += 1
        if self._written > MAX_VALUES:
            raise _refuse(f"more than {MAX_VALUES} values", line)
        self._note(path, line)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(path, event.anchor, line)
        if depth > MAX_DEPTH:
            raise _refuse(f"nested deeper than {MAX_DEPTH} levels", line)
        anchor: str | None = event.anchor
        if anchor:
            self._open_anchors.add(anchor)
        if isinstance(event, yaml.ScalarEvent):
            built = _Built(self._scalar(path, event, line), 1)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._check_tag(path, event.tag, "seq", line)
            built = self._sequence(path, depth)
        else:
            self._check_tag(path, event.tag, "map", line)
            built = self._mapping(path, depth)
        if anchor:
            self._open_anchors.discard(anchor)
            self._anchors[anchor] = built
        return built

    def _note(self, path: str, line: int) -> None:
        """Remember the first line of a path."""
        self._paths += len(path)
        if self._paths <= MAX_PATHS:
            self._lines.setdefault(path, line)

    def _problem(self, path: str, message: str, line: int) -> None:
        self._problems.append(Problem(path, message, line))
        if len(self._problems) > MAX_PROBLEMS:
            raise ConfigError(self._problems)

    def _alias(self, path: str, name: str | None, line: int) -> _Built:
        if name in self._open_anchors:
            raise _refuse(f"anchor {name!r} contains itself", line)
        built = self._anchors.get(name or "")
        if built is None:
            self._problem(path, f"alias {name!r} has no anchor before it", line)
            return _Built(None, 1)
        self._expanded += built.size
        if self._expanded > MAX_VALUES:
            raise _refuse(f"aliases stand for more than {MAX_VALUES} values", line)
        return built

    def _sequence(self, path: str, depth: int) -> _Built:
        items: list[Value] = []
        size = 1
        while not self._peek(yaml.SequenceEndEvent):
            where = f"{path}[{len(items)}]" if len(path) < MAX_PATH else path
            built = self._node(where, depth + 1)
            items.append(built.value)
            size += built.size
        self._next()
        return _Built(items, size)

    def _mapping(self, path: str, depth: int) -> _Built:
        own: dict[str, Value] = {}
        merged: dict[str, Value] = {}
        seen: dict[str, int] = {}
        size = 1
        while not self._peek(yaml.MappingEndEvent):
            key, line, is_merge = self._key(path, depth)
            where = f"{path}.{key}" if path else key
            if len(where) > MAX_PATH:
                where = path
            if key in seen:
                self._problem(where, f"given twice, first on line {seen[key]}", line)
                where += " (again)"
            seen.setdefault(key, line)
            self._note(where, line)
            built = self._node(where, depth + 1)
            size += built.size
            if is_merge:
                self._merge(path, built.value, merged, line)
            else:
                own.setdefault(key, built.value)
        self._next()
        return _Built({**merged, **own} if merged else own, size)

    def _key(self, path: str, depth: int) -> tuple[str, int, bool]:
        event = self._next()
        line: int = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            value = self._alias(path, event.anchor, line).value
            if isinstance(value, list | dict):
                raise _refuse("a mapping key must be a scalar", line)
            return str(value), line, False
        if not isinstance(event, yaml.ScalarEvent):
            raise _refuse("a mapping key must be a scalar", line)
        if event.anchor:
            self._anchors[event.anchor] = _Built(event.value, 1)
        return event.value, line, event.value == "<<" and event.implicit[0]

    def _merge(self, path: str, value: Value, into: dict[str, Value], line: int) -> None:
        """YAML's merge key type: of several mappings the earlier one wins."""
        sources = value if isinstance(value, list) else [value]
        for source in sources:
            if isinstance(source, dict):
                for key, item in source.items():
                    into.setdefault(key, item)
            else:
                self._problem(path, "'<<' takes a mapping, or a list of them", line)

    def _scalar(self, path: str, event: yaml.ScalarEvent, line: int) -> Value:
        text: str = event.value
        if event.tag == "!":
            return text
        if event.implicit[0]:
            return resolve_plain(text)
        if event.tag in (None, _TAG + "str"):
            return text
        value = resolve_plain(text)
        if event.tag == _TAG + "float" and type(value) is int:
            return float(value)
        kind = "null" if value is None else type(value).__name__
        if event.tag != _TAG + kind or isinstance(value, str):
            shown = event.tag.removeprefix(_TAG)
            self._problem(path, f"tag {shown!r} does not fit {text!r}", line)
        return value

    def _check_tag(self, path: str, tag: str | None, kind: str, line: int) -> None:
        if tag not in (None, "!", _TAG + kind):
            shown = str(tag).removeprefix(_TAG)
            self._problem(path, f"unknown tag {shown!r}", line)
