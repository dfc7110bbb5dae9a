"""The server's side of one HTTP/2 stream, by the `h2` library."""

from __future__ import annotations

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded
from h2.settings import SettingCodes


class H2Server:
    """Takes any request, collects its body; flow control is in the test's hands.

    Its settings hold from the client's acknowledgement on, as RFC 9113, 6.5.3 has it.
    """

    def __init__(self, window: int = 65535, max_frame: int = 16384) -> None:
        config = H2Configuration(client_side=False, header_encoding="utf-8")
        self.connection = H2Connection(config)
        self.connection.initiate_connection()
        self.connection.update_settings(
            {SettingCodes.INITIAL_WINDOW_SIZE: window, SettingCodes.MAX_FRAME_SIZE: max_frame}
        )
        self.headers: list[tuple[str, str]] = []
        self.payload = b""
        self.ended = False
        self.unacknowledged = 0
        """What of the payload was not given back to the windows."""

    def receive(self, wire: bytes) -> bytes:
        """Its answer to what arrived."""
        for event in self.connection.receive_data(wire):
            if isinstance(event, RequestReceived):
                self.headers = list(event.headers)
            elif isinstance(event, DataReceived):
                self.payload += event.data
                self.unacknowledged += event.flow_controlled_length
            elif isinstance(event, StreamEnded):
                self.ended = True
        return self.connection.data_to_send()

    def answer(self, *headers: tuple[str, str], end: bool = False) -> bytes:
        """Response headers, or trailers."""
        self.connection.send_headers(1, list(headers) or [(":status", "200")], end_stream=end)
        return self.connection.data_to_send()

    def send(self, payload: bytes, end: bool = False, padding: int | None = None) -> bytes:
        """Payload in frames as large as allowed."""
        limit = self.connection.max_outbound_frame_size - 300
        for at in range(0, len(payload), limit):
            self.connection.send_data(1, payload[at : at + limit], pad_length=padding)
        if end:
            self.connection.end_stream(1)
        return self.connection.data_to_send()

    def acknowledge(self, size: int) -> bytes:
        """Give this much back to both windows."""
        self.unacknowledged -= size
        self.connection.acknowledge_received_data(size, 1)
        return self.connection.data_to_send()
