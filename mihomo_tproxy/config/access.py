"""Who may use the HTTP and SOCKS listeners: `authentication` and the address lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.config.section import Section, describe
from mihomo_tproxy.config.specs.listener import AccessSpec
from mihomo_tproxy.matcher.cidr import parse_cidr

if TYPE_CHECKING:
    from mihomo_tproxy.config.specs.listener import User


def parse_access(section: Section) -> AccessSpec:
    """The access keys of the top-level section; what is wrong is reported."""
    users: list[User] = []
    for path, text in section.texts("authentication"):
        name, colon, password = text.partition(":")
        if not colon or not name:
            section.report.problem(path, "expected a name and a password, as in user:password")
        elif _fits(name, password):
            users.append((name, password))
        else:
            section.report.problem(path, "a name or a password is longer than 255 bytes")
    return AccessSpec(
        users=tuple(users),
        skip_auth=_prefixes(section, "skip-auth-prefixes") or (),
        allowed=_prefixes(section, "lan-allowed-ips"),
        disallowed=_prefixes(section, "lan-disallowed-ips") or (),
    )


def parse_users(section: Section) -> tuple[User, ...] | None:
    """`users` of one listener, None when it has no such key."""
    if section.take("users") is None:
        return None
    users: list[User] = []
    for path, value in section.values("users"):
        if not isinstance(value, dict):
            section.report.problem(path, f"expected a mapping, found {describe(value)}")
            continue
        entry = Section(section.report, path, value)
        name, password = entry.text("username"), entry.text("password")
        entry.warn_unknown()
        if not name or ":" in name:
            entry.problem("username", "expected a name without ':'")
        elif _fits(name, password):
            users.append((name, password))
        else:
            section.report.problem(path, "a name or a password is longer than 255 bytes")
    return tuple(users)


def _fits(name: str, password: str) -> bool:
    """Whether RFC 1929 can carry them."""
    return len(name.encode()) <= 255 and len(password.encode()) <= 255


def _prefixes(section: Section, key: str) -> tuple[tuple[int, int], ...] | None:
    """A list of CIDRs or addresses, None when absent."""
    if section.take(key) is None:
        return None
    found: list[tuple[int, int]] = []
    for path, text in section.texts(key):
        try:
            found.extend((each.key, each.length) for each in parse_cidr(text, bare=True))
        except ValueError as error:
            section.report.problem(path, str(error))
    return tuple(found)
