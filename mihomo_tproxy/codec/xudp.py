"""XUDP: the datagrams of one client port, each with its own remote, in frames of one stream.

They are the frames of Mux.Cool (v2fly.org/developer/protocols/muxcool), here with one session, 0,
of UDP; Xray's XUDP added an address to each `keep` and the id of the client to `new`:

    | length 2 | session 2 | status 1 | option 1 | network 1 | port 2 | ATYP 1 | address |
    | [global id 8] |  data length 2 | data |

- status: 1 new, the first frame of ours; 2 keep, every other datagram; 3 end; 4 keep-alive;
- option: 1 data follow, 2 an error;
- `length` counts from the session to the data length; one of 4 means no address: whoever was asked;
- the global id, 8 bytes on `new` alone, lets a server find the client's socket again when the
  stream was lost.

VLESS and VMess announce it with command 3, and VLESS without an address. Session ids of the server
are not looked at: there is one session.

Invariants: as of `codec.frames`; what is held stays under `MAX_METADATA` + 65,539 bytes and one
read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mihomo_tproxy.codec.address import encode_port_address, parse_port_address
from mihomo_tproxy.codec.frames import FramedPackets
from mihomo_tproxy.codec.layer import Packet
from mihomo_tproxy.errors import DestinationRefused, LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from mihomo_tproxy.codec.layer import Buffer

MAX_METADATA: Final = 512
MAX_DATAGRAM: Final = 16000
"""What sing-box and mihomo take: a longer one is the end of their session, without a word."""
NEW: Final = 1
KEEP: Final = 2
END: Final = 3
KEEP_ALIVE: Final = 4
DATA: Final = 1
ERROR: Final = 2
UDP: Final = 2
_BARE: Final = 4
_KEEP_DATA_UDP: Final = bytes((0, 0, KEEP, DATA, UDP))
_NEW_DATA_UDP: Final = bytes((0, 0, NEW, DATA, UDP))


class XudpLayer(FramedPackets):
    """Our side of one XUDP session."""

    __slots__ = ("_global_id", "_head", "_host", "_new", "_port", "_sender", "_sender_address")

    def __init__(self, global_id: bytes = b"") -> None:
        """`global_id`: what stands for the client's port in 8 bytes, b"" for none."""
        super().__init__()
        self._global_id = global_id
        self._new = True
        self._host = ""
        self._port = -1
        self._head = b""
        """The frame up to the data length, for the host and port before."""
        self._sender = b""
        self._sender_address = ("", 0)

    def seal_packet(self, data: Buffer, host: str, port: int) -> Buffer:
        """The frame of one datagram.

        Raises:
            LocalProtocolError: longer than `MAX_DATAGRAM`, or the host cannot be written.
        """
        size = len(data)
        if size > MAX_DATAGRAM:
            raise LocalProtocolError("datagram-too-long", f"{size} bytes")
        if self._new:
            metadata = _NEW_DATA_UDP + encode_port_address(host, port) + self._global_id
            self._new = False
            return b"".join(
                (len(metadata).to_bytes(2, "big"), metadata, size.to_bytes(2, "big"), data)
            )
        if port != self._port or host != self._host:
            metadata = _KEEP_DATA_UDP + encode_port_address(host, port)
            self._head = len(metadata).to_bytes(2, "big") + metadata
            self._host, self._port = host, port
        return b"".join((self._head, size.to_bytes(2, "big"), data))

    def finish(self) -> Buffer:
        """The frame that ends the session."""
        return b"" if self._new else bytes((0, 4, 0, 0, END, 0))

    def _take(self, data: bytes, start: int, packets: list[Packet]) -> int:
        have = len(data)
        if have - start < 6:
            return start + 6
        length = data[start] << 8 | data[start + 1]
        if not _BARE <= length <= MAX_METADATA:
            raise RemoteProtocolError("xudp-bad-frame", f"metadata of {length} bytes")
        status, option = data[start + 4], data[start + 5]
        metadata_end = start + 2 + length
        if not option & DATA:
            if have < metadata_end:
                return metadata_end
            self._check(status, option)
            return metadata_end
        if have < metadata_end + 2:
            return metadata_end + 2
        end = metadata_end + 2 + (data[metadata_end] << 8 | data[metadata_end + 1])
        if have < end:
            return end
        self._check(status, option)
        if status == KEEP:
            remote = self._remote(data[start + 6 : metadata_end])
            packets.append(Packet(data[metadata_end + 2 : end], *remote))
        return end

    def _check(self, status: int, option: int) -> None:
        if option & ERROR:
            raise DestinationRefused("xudp-refused", "the server ended the session with an error")
        if status == END:
            self.ended = True
        elif status not in (KEEP, KEEP_ALIVE):
            raise RemoteProtocolError("xudp-bad-frame", f"status {status}")

    def _remote(self, metadata: bytes) -> tuple[str, int]:
        """The sender in the metadata after the option; most often the last one's again."""
        if metadata == self._sender:
            return self._sender_address
        if not metadata:
            return "", 0
        if metadata[0] != UDP:
            raise RemoteProtocolError("xudp-bad-frame", f"network {metadata[0]}")
        found = parse_port_address(metadata, 1)
        if found is None:
            raise RemoteProtocolError("xudp-bad-frame", "an address beyond its metadata")
        self._sender = metadata
        self._sender_address = address = found[0], found[1]
        return address
