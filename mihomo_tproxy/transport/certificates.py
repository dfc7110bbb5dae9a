"""Whom to trust, and what to show: certificates as `ssl` wants them, and what it cannot check.

OpenSSL verifies a chain against the host's authorities and the name that goes out as SNI. The rest
of what mihomo's configuration can ask for is done here, on the certificates of a finished
handshake: `fingerprint` (SHA-256 of DER, FIPS 180-4) and `name-cert-verify` (RFC 6125, 6.4).
"""

from __future__ import annotations

import os
import re
import ssl
from hashlib import sha256
from hmac import compare_digest
from typing import TYPE_CHECKING, Any, Final

from mihomo_tproxy.errors import AuthenticationFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

_HASHED: Final = re.compile(r"[0-9a-f]{8}\.\d+")
_DER: Final = 2


def load_authorities(context: ssl.SSLContext) -> None:
    """Trust the host's authorities.

    A directory with OpenSSL's hashed names is only looked into when an issuer is wanted; a bundle
    is parsed whole: 17 ms and 2.4 MB for each context.
    """
    paths = ssl.get_default_verify_paths()
    if paths.openssl_cafile_env not in os.environ and paths.capath and _is_hashed(paths.capath):
        context.load_verify_locations(capath=paths.capath)
    else:
        context.set_default_verify_paths()


def load_identity(context: ssl.SSLContext, certificate: str, private_key: str) -> None:
    """Show this certificate (PEM, with its chain) when asked, and prove it with this key (PEM).

    Raises:
        ssl.SSLError: not a certificate, not a key, an encrypted key, or one of another certificate.
    """
    # OpenSSL takes them from a file only; this one has no name and no place on a disk.
    descriptor = os.memfd_create("identity", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, f"{certificate}\n{private_key}\n".encode())
        # Without a password of ours OpenSSL would ask on the terminal.
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password="")
    finally:
        os.close(descriptor)


def identity_problem(certificate: str, private_key: str) -> str:
    """What is wrong with a pair of PEM texts, "" when it can be used."""
    try:
        load_identity(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate, private_key)
    except ssl.SSLError as error:
        return (error.reason or "no PEM data").replace("_", " ").lower()
    return ""


def check_fingerprint(connection: ssl.SSLObject, fingerprint: bytes, name: str) -> None:
    """The server's certificate is the pinned one, or the pinned one vouches for it and for a name.

    Raises:
        AuthenticationFailed: neither.
    """
    leaf = connection.getpeercert(True) or b""
    if compare_digest(sha256(leaf).digest(), fingerprint):
        return
    chain = _chain(connection)
    for depth, certificate in enumerate(chain):
        if depth and compare_digest(sha256(certificate).digest(), fingerprint):
            _check_chain(chain[: depth + 1], name)
            return
    raise AuthenticationFailed("tls-fingerprint", "no certificate with the configured fingerprint")


def check_name(connection: ssl.SSLObject, name: str) -> None:
    """The server's verified certificate is one for a name.

    Raises:
        AuthenticationFailed: it is not.
    """
    if not names_cover(connection.getpeercert() or {}, name):
        raise AuthenticationFailed("tls-certificate", f"the certificate is not for {name}")


def names_cover(certificate: Mapping[str, Any], name: str) -> bool:
    """Whether the subjectAltName of a certificate, as `getpeercert` tells it, includes a name."""
    wanted = name.rstrip(".").lower()
    parent = wanted.partition(".")[2]
    for kind, value in certificate.get("subjectAltName", ()):
        if kind == "DNS":
            pattern = value.rstrip(".").lower()
            if pattern == wanted or (parent and pattern == f"*.{parent}"):
                return True
        elif kind == "IP Address" and value.lower() == wanted:
            return True
    return False


def _is_hashed(directory: str) -> bool:
    try:
        with os.scandir(directory) as entries:
            return any(_HASHED.fullmatch(entry.name) for entry in entries)
    except OSError:
        return False


def _chain(connection: ssl.SSLObject) -> list[bytes]:
    """What the server sent, its own certificate first, in DER."""
    if hasattr(connection, "get_unverified_chain"):
        return list(connection.get_unverified_chain())
    # Python before 3.13 has it where only its own modules are meant to look.
    inner: Any = connection._sslobj  # type: ignore[attr-defined]
    return [certificate.public_bytes(_DER) for certificate in inner.get_unverified_chain() or ()]


def _check_chain(chain: list[bytes], name: str) -> None:
    """The last certificate vouches for the first, directly or by way of those between.

    Raises:
        AuthenticationFailed: it does not, or not for this name, or not today.
    """
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.x509 import verification

    subject: x509.DNSName | x509.IPAddress
    try:
        subject = x509.IPAddress(ip_address(name))
    except ValueError:
        subject = x509.DNSName(name)
    try:
        leaf, *between, root = map(x509.load_der_x509_certificate, chain)
        builder = verification.PolicyBuilder().store(verification.Store([root]))
        # Of the extensions only what decides is asked for: private authorities rarely follow the
        # rules for public ones in every detail.
        authority, server = (verification.ExtensionPolicy.permit_all() for _ in range(2))
        authority = authority.require_present(
            x509.BasicConstraints, verification.Criticality.AGNOSTIC, None
        )
        server = server.require_present(
            x509.SubjectAlternativeName, verification.Criticality.AGNOSTIC, None
        )
        builder = builder.extension_policies(ca_policy=authority, ee_policy=server)
        builder.build_server_verifier(subject).verify(leaf, between)
    except (ValueError, verification.VerificationError) as error:
        raise AuthenticationFailed("tls-certificate", str(error)) from None
