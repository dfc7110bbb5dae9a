"""Where a provider's content comes from: the keys that both kinds of provider have."""

from __future__ import annotations

import hashlib
import os
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from mihomo_tproxy.config.paths import inside_home
from mihomo_tproxy.config.section import Section, describe
from mihomo_tproxy.config.specs.provider import Vehicle
from mihomo_tproxy.geo.files import KINDS
from mihomo_tproxy.keeper.store import FILE as STORE_FILE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mihomo_tproxy.config.report import Report
    from mihomo_tproxy.config.specs.provider import ProviderSpec

MAX_INTERVAL_S: Final = 10 * 366 * 86400
MAX_SIZE_LIMIT: Final = 1 << 62

_GEO_NAMES: Final = frozenset().union(*(kind.names for kind in KINDS.values()))
_URL: Final = re.compile(r"https?://[^\s/][^\s]*", re.IGNORECASE)
_ASCII: Final = bytes(range(0x21, 0x7F)).decode()
_HEADER_NAME: Final = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")


def read_source(section: Section, vehicle: Vehicle, folder: str) -> dict[str, Any]:
    """The fields of `ProviderSpec` but the name, by name; what is wrong is reported.

    Args:
        section: the entry.
        vehicle: its type.
        folder: where downloads without a `path` go, within the home directory.
    """
    written = section.text("url").strip()
    if vehicle is Vehicle.HTTP and not written:
        section.problem("url", "is needed for the type http")
    return {
        "vehicle": vehicle,
        "path": _path(section, vehicle, written, folder),
        "url": read_url(section, "url") if vehicle is Vehicle.HTTP else "",
        "interval_s": max(section.integer("interval", 0, -MAX_INTERVAL_S, MAX_INTERVAL_S), 0),
        "proxy": section.text("proxy"),
        "size_limit": max(section.integer("size-limit", 0, -MAX_SIZE_LIMIT, MAX_SIZE_LIMIT), 0),
        "headers": tuple(_headers(section)),
    }


def read_url(section: Section, key: str) -> str:
    """An http or https URL in ASCII, "" when absent or wrong."""
    url = section.text(key).strip()
    if url and not (_URL.fullmatch(url) and url.isprintable()):
        found = url.partition("?")[0].rpartition("@")[2]  # the rest may be a secret
        section.problem(key, f"expected an http or https URL, found {describe(found)}")
        return ""
    return quote(url, safe=_ASCII)


def warn_shared_paths(report: Report, specs: Iterable[tuple[str, ProviderSpec]]) -> None:
    """Two downloads into one file replace each other's content.

    Args:
        report: takes the warnings.
        specs: each with the path of its entry in the file.
    """
    owners: dict[str, ProviderSpec] = {}
    for where, spec in specs:
        if spec.vehicle is not Vehicle.HTTP:
            continue
        first = owners.setdefault(spec.path, spec)
        if first.url != spec.url:
            report.warning(f"{where}.path", f"the same file as that of {first.name!r}, other URL")


def _path(section: Section, vehicle: Vehicle, url: str, folder: str) -> str:
    """mihomo names a download without a path by the MD5 of its URL."""
    path = section.text("path")
    if vehicle is Vehicle.INLINE:
        return ""
    if not path and vehicle is Vehicle.HTTP:
        digest = hashlib.md5(url.encode("utf-8", "replace"), usedforsecurity=False)
        path = f"{folder}/{digest.hexdigest()}"
    if not path:
        section.problem("path", "is needed for the type file")
        return ""
    try:
        found = inside_home(section.report.home, path)
    except ValueError as error:
        section.problem("path", str(error))
        return ""
    if vehicle is Vehicle.HTTP and _is_kept(section.report, found):
        section.problem("path", f"{path!r} has other content that a download would replace")
        return ""
    return found


def _is_kept(report: Report, path: str) -> bool:
    """Whether a file is the configuration, our store, or geo data."""
    folder, name = os.path.split(path)
    if path == report.file:
        return True
    at_home = folder == os.path.realpath(report.home or ".")
    return at_home and (name.startswith(STORE_FILE) or name.lower() in _GEO_NAMES)


def _headers(section: Section) -> list[tuple[str, str]]:
    headers = Section(section.report, section.where("header"), section.take("header"))
    found: list[tuple[str, str]] = []
    for name in headers.keys:
        if not _HEADER_NAME.fullmatch(name):
            headers.problem(name, f"not the name of a header: {describe(name)}")
        for path, text in headers.texts(name):
            if text.isprintable():
                found.append((name, text))
            else:
                section.report.problem(path, "a header holds printable characters only")
    return found
