"""The data section of a MaxMind DB (format 2.0, maxmind.github.io/MaxMind-DB): typed values.

Only what is asked for is decoded; the rest is stepped over without following its pointers.
Invariants for foreign bytes: every read is checked against the section, values nest at most
`MAX_DEPTH` deep, a pointer leads to a value and not to a pointer, and one section gives out at most
`MAX_ELEMENTS` elements in its life, so no file takes more than linear time.
"""

from __future__ import annotations

from typing import Final

Value = str | int | list["Value"] | dict[str, "Value"] | None
"""Doubles, floats, bytes and signed numbers, which nobody asks for, are None."""

MAX_DEPTH: Final = 8
MAX_ELEMENTS: Final = 4_000_000
"""Forty times a list of all networks."""

_EXTENDED: Final = 0
_POINTER: Final = 1
_STRING: Final = 2
_MAP: Final = 7
_ARRAY: Final = 11
_BOOLEAN: Final = 14
_CONTAINERS: Final = frozenset({_MAP, _ARRAY})
_UNSIGNED: Final = frozenset({5, 6, 9, 10})
_POINTER_BASE: Final = (0, 2048, 526336, 0)


class Section:
    """Values by their offset. Every method raises ValueError where the bytes make no sense."""

    __slots__ = ("_bytes", "_left", "_strings")

    def __init__(self, content: bytes) -> None:
        self._bytes = content
        self._left = MAX_ELEMENTS
        self._strings: dict[int, str] = {}

    def value(self, offset: int, depth: int = 0) -> Value:
        """The whole value."""
        return self._value(offset, depth)[0]

    def field(self, offset: int, *path: str) -> Value:
        """What stands under the keys, None when it is not there."""
        for key in path:
            at = self._find(offset, key)
            if at is None:
                return None
            offset = at
        return self.value(offset)

    def _find(self, offset: int, key: str) -> int | None:
        """Where the value of a key of the map stands."""
        kind, size, at = self._head(self._follow(offset)[0])
        if kind != _MAP:
            return None
        self._spend(size)
        for _ in range(size):
            name, at = self._string(at)
            if name == key:
                return at
            at = self._skip(at, 0)
        return None

    def _string(self, offset: int) -> tuple[str, int]:
        """A string or the pointer to one, and where the next value begins."""
        target, after = self._follow(offset)
        known = self._strings.get(target)
        if known is not None and after is not None:
            return known, after
        kind, size, at = self._head(target)
        if kind != _STRING:
            raise ValueError("a key is no text")
        end = at + size
        self._check(end)
        try:
            text = self._strings[target] = self._bytes[at:end].decode()
        except UnicodeDecodeError:
            raise ValueError("a text is not UTF-8") from None
        return text, end if after is None else after

    def _value(self, offset: int, depth: int) -> tuple[Value, int]:
        self._spend(1)
        target, after = self._follow(offset)
        kind, size, at = self._head(target)
        if kind == _STRING:
            return self._string(offset)
        value: Value = None
        if kind in _CONTAINERS:
            value, end = self._container(kind, size, at, depth + 1)
        elif kind == _BOOLEAN:
            value, end = size, at
        else:
            end = at + size
            self._check(end)
            if kind in _UNSIGNED:
                value = int.from_bytes(self._bytes[at:end], "big")
        return value, end if after is None else after

    def _container(self, kind: int, size: int, at: int, depth: int) -> tuple[Value, int]:
        if depth > MAX_DEPTH:
            raise ValueError(f"values nest more than {MAX_DEPTH} deep")
        if kind == _ARRAY:
            items: list[Value] = []
            for _ in range(size):
                item, at = self._value(at, depth)
                items.append(item)
            return items, at
        fields: dict[str, Value] = {}
        for _ in range(size):
            name, at = self._string(at)
            fields[name], at = self._value(at, depth)
        return fields, at

    def _skip(self, offset: int, depth: int) -> int:
        """Where the value behind this one begins."""
        _, after = self._follow(offset)
        if after is not None:
            return after
        kind, size, at = self._head(offset)
        if kind == _BOOLEAN:
            return at
        if kind not in _CONTAINERS:
            self._check(at + size)
            return at + size
        if depth >= MAX_DEPTH:
            raise ValueError(f"values nest more than {MAX_DEPTH} deep")
        self._spend(size)
        for _ in range(2 * size if kind == _MAP else size):
            at = self._skip(at, depth + 1)
        return at

    def _follow(self, offset: int) -> tuple[int, int | None]:
        """Where the value really stands, and if that is elsewhere, what follows the pointer."""
        self._check(offset + 1)
        control = self._bytes[offset]
        if control >> 5 != _POINTER:
            return offset, None
        width = (control >> 3) & 3
        after = offset + 2 + width
        self._check(after)
        high = control & 7 if width < 3 else 0
        low = int.from_bytes(self._bytes[offset + 1 : after], "big")
        target = (high << 8 * (width + 1)) + low + _POINTER_BASE[width]
        self._check(target + 1)
        if self._bytes[target] >> 5 == _POINTER:
            raise ValueError("a pointer leads to a pointer")
        return target, after

    def _head(self, offset: int) -> tuple[int, int, int]:
        """Type, size, and where the payload begins."""
        content = self._bytes
        try:
            control = content[offset]
            kind = control >> 5
            at = offset + 1
            if kind == _EXTENDED:
                kind = content[at] + 7
                at += 1
        except IndexError:
            raise ValueError(_BEYOND) from None
        size = control & 31
        if size >= 29:
            extra = size - 28
            self._check(at + extra)
            base = (29, 285, 65821)[extra - 1]
            size = base + int.from_bytes(content[at : at + extra], "big")
            at += extra
        return kind, size, at

    def _check(self, end: int) -> None:
        if end > len(self._bytes):
            raise ValueError(_BEYOND)

    def _spend(self, elements: int) -> None:
        self._left -= elements
        if self._left < 0:
            raise ValueError("it has more records than any such database")


_BEYOND: Final = "a value lies beyond the end"
