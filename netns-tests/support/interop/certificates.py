"""The certificates of one test run: an authority, what it has issued, and a stranger's."""

from __future__ import annotations

import hashlib
import ssl
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import trustme
from support.interop.rows import SERVER

if TYPE_CHECKING:
    from pathlib import Path

NAME = "proxy.test"
"""What the servers' certificate is for, beside their address."""


class Certificates(NamedTuple):
    """Texts in PEM."""

    authority: str
    chain: str
    key: str
    client_chain: str
    client_key: str
    fingerprint: str
    """SHA-256 of the servers' certificate, in hexadecimal."""

    def write(self, directory: Path) -> tuple[str, str]:
        """Puts the servers' chain and key, and the authority, into files; the first two's paths."""
        (directory / "authority.pem").write_text(self.authority, encoding="ascii")
        chain, key = directory / "chain.pem", directory / "key.pem"
        chain.write_text(self.chain, encoding="ascii")
        key.write_text(self.key, encoding="ascii")
        return str(chain), str(key)


@cache
def certificates() -> Certificates:
    """The same for everyone in this process."""
    authority = trustme.CA()
    server = authority.issue_cert(NAME, SERVER)
    client = authority.issue_cert("client@proxy.test")
    leaf = server.cert_chain_pems[0].bytes().decode()
    return Certificates(
        authority=authority.cert_pem.bytes().decode(),
        chain=leaf,
        key=server.private_key_pem.bytes().decode(),
        client_chain=client.cert_chain_pems[0].bytes().decode(),
        client_key=client.private_key_pem.bytes().decode(),
        fingerprint=hashlib.sha256(ssl.PEM_cert_to_DER_cert(leaf)).hexdigest(),
    )
