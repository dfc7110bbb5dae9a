"""Who may use a listener: address lists and passwords.

As in mihomo, a client in `lan-disallowed-ips`, or outside `lan-allowed-ips`, is not talked to; one
in `skip-auth-prefixes` needs no password. Passwords are compared in constant time, and an unknown
user takes as long as a wrong password.
"""

from __future__ import annotations

from _operator import _compare_digest as compare_digest  # hmac would load OpenSSL
from typing import TYPE_CHECKING

from mihomo_tproxy.matcher.cidr import Prefix
from mihomo_tproxy.matcher.cidr_set import CidrSet
from mihomo_tproxy.model.address import address_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mihomo_tproxy.config.specs.listener import AccessSpec, ListenerSpec, User


class Users:
    """Names and passwords."""

    __slots__ = ("_passwords",)

    def __init__(self, users: Iterable[User]) -> None:
        self._passwords = {name.encode(): password.encode() for name, password in users}

    def verify(self, user: bytes, password: bytes) -> bool:
        """Whether the user is known by this password."""
        known = self._passwords.get(user)
        right = compare_digest(password if known is None else known, password)
        return right and known is not None


class Gate:
    """What one listener asks of its clients."""

    __slots__ = ("_allowed", "_disallowed", "_skip", "_verify", "open")

    def __init__(self, spec: ListenerSpec, access: AccessSpec) -> None:
        users = access.users if spec.users is None else spec.users
        self._verify = Users(users).verify if users else None
        guarded = spec.guarded
        self._skip = _cidrs(access.skip_auth if guarded else ())
        self._disallowed = _cidrs(access.disallowed if guarded else ())
        self._allowed = None
        if guarded and access.allowed is not None:
            self._allowed = _cidrs(access.allowed)
        self.open = self._allowed is None and not self._disallowed
        """Every address may come in."""

    def admits(self, host: str) -> bool:
        """Whether a client of this address is talked to."""
        if self.open:
            return True
        key = address_key(host)
        return key not in self._disallowed and (self._allowed is None or key in self._allowed)

    def verifier(self, host: str) -> Callable[[bytes, bytes], bool] | None:
        """Tells good names and passwords of a client of this address; None: it needs none."""
        verify = self._verify
        if verify is None or (self._skip and address_key(host) in self._skip):
            return None
        return verify


def _cidrs(prefixes: Iterable[tuple[int, int]]) -> CidrSet:
    return CidrSet(Prefix(key, length) for key, length in prefixes)
