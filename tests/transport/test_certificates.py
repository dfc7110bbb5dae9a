"""What is checked beside OpenSSL, and what OpenSSL is given."""

from __future__ import annotations

import ssl
import subprocess
from hashlib import sha256
from shutil import which
from typing import TYPE_CHECKING

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from support.tls import NAME, TlsPeer, authority, certificate, server_context, shake_hands

from mihomo_tproxy.config.specs.tls import TlsSpec
from mihomo_tproxy.errors import AuthenticationFailed
from mihomo_tproxy.transport.certificates import (
    identity_problem,
    load_authorities,
    names_cover,
)
from mihomo_tproxy.transport.tls import TlsClient

if TYPE_CHECKING:
    from pathlib import Path


def pem(blob: trustme.Blob) -> str:
    return blob.bytes().decode()


def test_a_pair_that_can_be_used() -> None:
    leaf = certificate()
    chain = "".join(map(pem, leaf.cert_chain_pems))
    assert identity_problem(chain, pem(leaf.private_key_pem)) == ""


def test_pairs_that_cannot() -> None:
    leaf, other = certificate(), certificate("other.test")
    chain, key = pem(leaf.cert_chain_pems[0]), pem(leaf.private_key_pem)
    assert "mismatch" in identity_problem(chain, pem(other.private_key_pem))
    assert identity_problem(key, key)
    assert identity_problem(chain, chain)
    assert identity_problem("nonsense", "nonsense")
    secret = load_pem_private_key(key.encode(), None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )
    assert identity_problem(chain, secret.decode())


@pytest.mark.parametrize(
    ("name", "covered"),
    [
        ("proxy.test", True),
        ("PROXY.test.", True),
        ("a.proxy.test", True),
        ("a.b.proxy.test", False),
        ("192.0.2.7", True),
        ("2001:db8::7", False),
        ("test", False),
        ("", False),
    ],
)
def test_names(name: str, covered: bool) -> None:
    alternatives = (("DNS", "proxy.test"), ("DNS", "*.Proxy.test"), ("IP Address", "192.0.2.7"))
    assert names_cover({"subjectAltName": alternatives}, name) is covered
    assert not names_cover({}, name)


def test_authorities_are_read_when_wanted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "0a1b2c3d.0").touch()
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    load_authorities(context)
    assert context.cert_store_stats()["x509_ca"] == 0


@pytest.mark.skipif(which("openssl") is None, reason="needs the openssl command")
def test_an_authority_is_found_when_wanted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "authority.pem"
    authority().cert_pem.write_to_path(str(path))
    argv = ["openssl", "x509", "-hash", "-noout", "-in", str(path)]
    name = subprocess.run(argv, capture_output=True, check=True, text=True).stdout.strip()
    path.rename(tmp_path / f"{name}.0")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    one = TlsClient(TlsSpec(server_name=NAME, alpn=("of this test",)))
    shake_hands(one.layer(), TlsPeer(server_context()))


@pytest.mark.parametrize("bundle", [True, False])
def test_a_bundle_is_read_at_once(
    bundle: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "readme").touch()
    path = tmp_path / "bundle.pem"
    authority().cert_pem.write_to_path(str(path))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path if bundle else tmp_path / "none"))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    load_authorities(context)
    assert context.cert_store_stats()["x509_ca"] == 1


def client(fingerprint: bytes, name: str = NAME) -> TlsClient:
    return TlsClient(TlsSpec(server_name=name, fingerprint=fingerprint))


def issuer_print(leaf: trustme.LeafCert) -> bytes:
    return sha256(ssl.PEM_cert_to_DER_cert(pem(leaf.cert_chain_pems[1]))).digest()


@pytest.fixture
def chained() -> trustme.LeafCert:
    """A certificate whose issuer is sent along."""
    return trustme.CA().create_child_ca().issue_cert(NAME)


def test_a_pinned_issuer_vouches_for_the_name(chained: trustme.LeafCert) -> None:
    shake_hands(client(issuer_print(chained)).layer(), TlsPeer(server_context(chained)))
    with pytest.raises(AuthenticationFailed) as caught:
        shake_hands(
            client(issuer_print(chained), "other.test").layer(), TlsPeer(server_context(chained))
        )
    assert caught.value.cause == "tls-certificate"


def test_an_issuer_in_the_chain_that_did_not_issue(chained: trustme.LeafCert) -> None:
    """Anybody can send our pinned certificate along; it must have signed the server's."""
    stranger = trustme.CA().issue_cert(NAME)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with trustme.Blob(
        stranger.private_key_and_cert_chain_pem.bytes() + chained.cert_chain_pems[1].bytes()
    ).tempfile() as path:
        context.load_cert_chain(path)
    with pytest.raises(AuthenticationFailed) as caught:
        shake_hands(client(issuer_print(chained)).layer(), TlsPeer(context))
    assert caught.value.cause == "tls-certificate"
