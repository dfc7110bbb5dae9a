"""Names and globs of network interfaces, as the kernel's `dev_valid_name` limits them."""

from __future__ import annotations

from typing import Final

MAX_NAME: Final = 15
_GLOB: Final = frozenset("*?[]!")


def check_interface(name: str, *, glob: bool = False) -> str:
    """The name, if the kernel could have such an interface; with `glob`, or a pattern for some.

    Raises:
        ValueError: it could not; the text says why.
    """
    if not name or name in (".", ".."):
        raise ValueError(f"not an interface name: {name!r}")
    if any(symbol.isspace() or symbol in "/:" or ord(symbol) < 33 for symbol in name):
        raise ValueError(f"not an interface name: {name!r} (no blanks, '/' or ':' allowed)")
    pattern = glob and not _GLOB.isdisjoint(name)
    if not pattern and len(name.encode("utf-8", "surrogatepass")) > MAX_NAME:
        raise ValueError(f"not an interface name: {name!r} (longer than {MAX_NAME} bytes)")
    return name
