"""Toy layers: small enough to be checked by eye, with one trait each of the real ones."""

from __future__ import annotations

from mihomo_tproxy.codec.layer import Layer, Packet, PacketLayer
from mihomo_tproxy.errors import AuthenticationFailed, RemoteProtocolError


class Xor(Layer):
    """Changes every byte; its first seal has a header, as Trojan's; needs no answer."""

    def __init__(self, key: int = 0x55, header: bytes = b"") -> None:
        super().__init__()
        self.table = bytes(byte ^ key for byte in range(256))
        self.header = header

    def feed(self, data):
        return bytes(data).translate(self.table)

    def seal(self, payload):
        wire = self.header + bytes(payload).translate(self.table)
        self.header = b""
        return wire


class Greeting(Layer):
    """Says hello and waits for an answer, then changes nothing, as SOCKS5."""

    def __init__(self, hello: bytes = b"hello\n", wanted: bytes = b"welcome\n") -> None:
        super().__init__()
        self.ready = False
        self.hello = hello
        self.wanted = wanted
        self.got = b""

    def begin(self) -> None:
        self.output = self.hello

    def feed(self, data):
        if self.ready:
            return data
        self.got += bytes(data)
        if not self.wanted.startswith(self.got[: len(self.wanted)]):
            raise AuthenticationFailed("toy-refused")
        if len(self.got) < len(self.wanted):
            return b""
        self.ready = self.transparent = True
        return self.got[len(self.wanted) :]

    def feed_eof(self) -> None:
        if not self.ready:
            raise RemoteProtocolError("toy-truncated")


class Lines(Layer):
    """Marks the end in band: `.` ends a stream, the wire stays open, as HTTP/2."""

    ends_below = False

    def feed(self, data):
        payload, dot, _ = bytes(data).partition(b".")
        self.ended = self.ended or bool(dot)
        return payload

    def finish(self):
        return b"."


class Windowed(Layer):
    """Lets through as many seals as the peer granted, one for each `+`."""

    def __init__(self) -> None:
        super().__init__()
        self.blocked = True
        self.credit = 0

    def feed(self, data):
        payload = bytes(data)
        self.credit += payload.count(b"+")
        self.blocked = not self.credit
        return payload.replace(b"+", b"")

    def seal(self, payload):
        if payload:
            self.credit -= 1
            self.blocked = not self.credit
        return payload


class Datagrams(PacketLayer):
    """`host port size\\n` and the payload."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = b""

    def seal_packet(self, data, host, port):
        return f"{host} {port} {len(data)}\n".encode() + bytes(data)

    def feed_packets(self, data):
        self.buffer += bytes(data)
        packets = []
        while b"\n" in self.buffer:
            head, _, rest = self.buffer.partition(b"\n")
            host, port, size = head.decode().split(" ")
            if len(rest) < int(size):
                break
            packets.append(Packet(rest[: int(size)], host, int(port)))
            self.buffer = rest[int(size) :]
        return packets
