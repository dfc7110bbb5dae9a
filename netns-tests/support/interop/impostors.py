"""Servers that are not what a proxy expects: they say a few bytes, or finish TLS, and then nothing.

They run in threads of the test, on a port of the rig's internet node each, and hold every
connection until they are closed.
"""

from __future__ import annotations

import ssl
import threading
from typing import TYPE_CHECKING

import trustme
from support.interop.certificates import NAME, certificates
from support.interop.rows import SERVER
from support.traffic import listen

if TYPE_CHECKING:
    import socket
    from pathlib import Path
    from types import TracebackType

    from mihomo_tproxy.rig import Node


class Impostor:
    """Accepts, says the same to everyone, and keeps still."""

    def __init__(
        self, node: Node, port: int, says: bytes = b"", context: ssl.SSLContext | None = None
    ) -> None:
        self._says = says
        self._context = context
        self._held: list[socket.socket] = []
        self._listener = listen(node, SERVER, port)
        self._listener.settimeout(None)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return  # closed
            self._held.append(sock)
            try:
                if self._context is not None:
                    sock = self._context.wrap_socket(sock, server_side=True)
                    self._held.append(sock)
                sock.sendall(self._says)
            except OSError:
                continue  # the gateway has hung up, as it may

    def __enter__(self) -> Impostor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.shutdown(2)
        self._listener.close()
        self._thread.join(5)
        for sock in self._held:
            sock.close()


def tls_context(directory: Path, *, stranger: bool = False) -> ssl.SSLContext:
    """A server's side of TLS: the run's certificate, or one of an authority nobody knows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2", "http/1.1"])
    if stranger:
        trustme.CA().issue_cert(NAME).configure_cert(context)
    else:
        context.load_cert_chain(*certificates().write(directory))
    return context
