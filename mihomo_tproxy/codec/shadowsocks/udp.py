"""Datagrams of SIP004 and of `cipher: none` (shadowsocks.org/doc/aead.html).

    | salt | sealed: address (SOCKS), payload |        each with a key of its own, nonce 0
    | address (SOCKS), payload |                       none

The address is the destination on the way up, the sender on the way down. SIP004 has no protection
against replays of datagrams.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag

from mihomo_tproxy.codec.address import encode_socks_address, parse_socks_address
from mihomo_tproxy.codec.layer import Packet
from mihomo_tproxy.codec.shadowsocks.kdf import aead_subkey
from mihomo_tproxy.errors import AuthenticationFailed, RemoteProtocolError

if TYPE_CHECKING:
    from mihomo_tproxy.codec.layer import Buffer
    from mihomo_tproxy.codec.shadowsocks.profile import Profile


class PlainPackets:
    """Datagrams to and from any remote."""

    __slots__ = ()

    def seal(self, data: Buffer, host: str, port: int) -> Buffer:
        """The wire's datagram of one of ours.

        Raises:
            LocalProtocolError: the host cannot be written.
        """
        return encode_socks_address(host, port) + data

    def open(self, data: Buffer) -> Packet:
        """Our datagram of one of the wire's.

        Raises:
            RemoteProtocolError: it has no address.
        """
        return parse_packet(data, 0)


class AeadPackets:
    """Datagrams to and from any remote, sealed."""

    __slots__ = ("_nonce", "_profile")

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._nonce = bytes(profile.method.nonce_bytes)

    def seal(self, data: Buffer, host: str, port: int) -> Buffer:
        """The wire's datagram of one of ours.

        Raises:
            LocalProtocolError: the host cannot be written.
        """
        profile = self._profile
        method = profile.method
        salt = profile.random(method.key_bytes)
        aead = method.cipher(aead_subkey(profile.key, salt))
        return salt + aead.encrypt(self._nonce, encode_socks_address(host, port) + data, None)

    def open(self, data: Buffer) -> Packet:
        """Our datagram of one of the wire's.

        Raises:
            AuthenticationFailed: it does not verify.
            RemoteProtocolError: it has no address.
        """
        profile = self._profile
        method = profile.method
        view = memoryview(data)
        salt = bytes(view[: method.key_bytes])
        aead = method.cipher(aead_subkey(profile.key, salt))
        try:
            plain = aead.decrypt(self._nonce, view[method.key_bytes :], None)
        except InvalidTag:
            raise AuthenticationFailed("ss-auth-failed", "a datagram does not verify") from None
        return parse_packet(plain, 0)


def parse_packet(plain: Buffer, start: int) -> Packet:
    """The sender's address, and the payload after it.

    Raises:
        RemoteProtocolError: there is no address.
    """
    found = parse_socks_address(plain, start)
    if found is None:
        raise RemoteProtocolError("ss-bad-header", "a datagram ends within its address")
    host, port, end = found
    return Packet(memoryview(plain)[end:], host, port)
