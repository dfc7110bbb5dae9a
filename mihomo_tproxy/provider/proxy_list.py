"""What the file of a proxy provider holds: YAML with `proxies`, share links, or those in base64.

Invariants, for files of strangers: nothing but ValueError escapes; size, number of entries and of
YAML's values are bounded before anything is built of them.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from mihomo_tproxy.provider.links import convert_links
from mihomo_tproxy.provider.links.url import decode_base64

if TYPE_CHECKING:
    from mihomo_tproxy.config.yaml import Value

MAX_BYTES: Final = 16 << 20
MAX_PROXIES: Final = 10_000
MAX_MARKS: Final = 1_000_000
"""Characters that begin or part YAML's values; 10,000 proxies of 20 keys have half of them."""

_MARKS: Final = (b"\n", b"\r", b",", b":", b"-", b"[", b"{", b"?")
_COMMENT: Final = re.compile(r"\s*(?:#|//).*\n")
_LINK: Final = re.compile(r"\s*[A-Za-z][A-Za-z0-9+.-]*://")


class ProxyList(NamedTuple):
    """The entries of a file."""

    entries: list[dict[str, Value]]
    skipped: Counter[str]
    """What is no entry, by reason."""


def read_proxy_list(data: bytes) -> ProxyList:
    """The entries of a file, in its order.

    Raises:
        ValueError: there are none in it; the text says why.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES >> 20} MiB")
    text = data.decode("utf-8-sig", "replace")
    if not _begins_with_link(text):
        try:
            text = decode_base64("".join(text.split()))
        except ValueError:
            return _read_yaml(data)
    links = convert_links(text, MAX_PROXIES)
    if not links.proxies:
        reasons = "; ".join(links.skipped)
        raise ValueError(f"no link in it is of use: {reasons}" if reasons else "no links in it")
    return ProxyList(links.proxies, links.skipped)


def _begins_with_link(text: str) -> bool:
    """Whether a link is the first that is no comment. One comment at a time: one expression for
    all of them would remember the place of each."""
    at = 0
    while found := _COMMENT.match(text, at):
        at = found.end()
    return _LINK.match(text, at) is not None


def take_entries(values: list[Value]) -> ProxyList:
    """The mappings of a list of YAML."""
    entries = [value for value in values if isinstance(value, dict)]
    skipped = Counter({"not a mapping": len(values) - len(entries)})
    skipped["more entries than are taken"] = len(entries[MAX_PROXIES:])
    return ProxyList(entries[:MAX_PROXIES], +skipped)


def _read_yaml(data: bytes) -> ProxyList:
    # Lists of links are read without PyYAML.
    from mihomo_tproxy.config.yaml import load_text
    from mihomo_tproxy.errors import ConfigError

    if sum(map(data.count, _MARKS)) > MAX_MARKS:
        raise ValueError("too many values")
    try:
        value = load_text(data.decode("utf-8-sig")).value
    except ConfigError as error:
        raise ValueError(f"neither links nor YAML: {error}") from None
    except UnicodeDecodeError:
        raise ValueError("neither links nor YAML: not UTF-8") from None
    proxies = value.get("proxies") if isinstance(value, dict) else None
    if not isinstance(proxies, list):
        raise ValueError("neither links nor YAML with a list `proxies`")
    if not proxies:
        raise ValueError("its list `proxies` is empty")
    return take_entries(proxies)
