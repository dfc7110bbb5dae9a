"""Streams of `cipher: none`: the address (SOCKS) before the payload, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.codec.address import encode_socks_address
from mihomo_tproxy.codec.layer import Layer

if TYPE_CHECKING:
    from mihomo_tproxy.codec.layer import Buffer


class PlainStream(Layer):
    """Our side of one stream to a destination; transparent once the address left."""

    __slots__ = ("_address",)

    def __init__(self, host: str, port: int) -> None:
        """Raises LocalProtocolError when the host cannot be written."""
        super().__init__()
        self._address = encode_socks_address(host, port)

    def seal(self, payload: Buffer) -> Buffer:
        """The payload, the first behind the address."""
        if self.transparent:
            return payload
        self.transparent = True
        return self._address + payload

    def finish(self) -> Buffer:
        """The address, if it waits still."""
        return self.seal(b"")
