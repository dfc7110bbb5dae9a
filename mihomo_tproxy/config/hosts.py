"""`hosts`: names with fixed addresses, or standing for another name.

A key may begin with mihomo's wildcards (`*.`, `+.`, `.`); a value is an address, a list of
addresses, or one other name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.config.schema import HostEntry
from mihomo_tproxy.config.section import describe, scalar_text
from mihomo_tproxy.model.address import address_key, address_text

if TYPE_CHECKING:
    from mihomo_tproxy.config.report import Report
    from mihomo_tproxy.config.yaml import Value

MAX_NAME: Final = 253
_PATTERN: Final = re.compile(r"(\+?\.)?([^\s./+]{1,63}\.)*[^\s./+]{1,63}")
_NAME: Final = re.compile(r"([^\s./:*+]{1,63}\.)*[^\s./:*+]{1,63}")


def parse_hosts(report: Report, value: Value) -> dict[str, HostEntry]:
    """The table; what is wrong in it is reported."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        report.problem("hosts", f"expected a mapping, found {describe(value)}")
        return {}
    table: dict[str, HostEntry] = {}
    for name, target in value.items():
        path = f"hosts.{name}"
        if len(name) > MAX_NAME or not _PATTERN.fullmatch(name):
            report.problem(path, f"not a host name: {name[:64]!r}")
        try:
            table[name.lower()] = _entry(target)
        except ValueError as error:
            report.problem(path, str(error))
    return table


def _entry(value: Value) -> HostEntry:
    items = value if isinstance(value, list) else [value]
    texts = [scalar_text(item) for item in items]
    if not texts or None in texts:
        raise ValueError(f"expected an address, addresses or one name, found {describe(value)}")
    words = [text for text in texts if text is not None]
    try:
        return HostEntry(addresses=tuple(address_text(address_key(word)) for word in words))
    except ValueError:
        if len(words) > 1:
            raise ValueError("several values must all be addresses") from None
    if len(words[0]) > MAX_NAME or not _NAME.fullmatch(words[0]):
        raise ValueError(f"neither an address nor a name: {words[0][:64]!r}")
    return HostEntry(alias=words[0].lower())
