"""The client's side of TLS, against OpenSSL's server side in memory."""

from __future__ import annotations

import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tls import (
    NAME,
    TlsPeer,
    authority,
    certificate,
    server_context,
    shake_hands,
    take_output,
    trust,
)

from mihomo_tproxy.config.specs.tls import TlsSpec
from mihomo_tproxy.errors import AuthenticationFailed, ProtocolError, RemoteProtocolError
from mihomo_tproxy.transport import tls
from mihomo_tproxy.transport.sessions import CopiedSessions
from mihomo_tproxy.transport.tls import TlsClient, TlsLayer

SPEC = TlsSpec(server_name=NAME)
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
both_versions = pytest.mark.parametrize("highest", VERSIONS, ids=["1.2", "1.3"])


@pytest.fixture(autouse=True)
def trusted(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", trust(authority(), tmp_path))


class Now:
    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def connect(client: TlsClient, context: ssl.SSLContext) -> tuple[TlsLayer, TlsPeer]:
    """A connection over which a request and an answer went."""
    layer, peer = client.layer(), TlsPeer(context)
    shake_hands(layer, peer)
    wire = peer.feed(bytes(layer.seal(b"request")))
    assert peer.received == b"request"
    assert layer.feed(wire + peer.seal(b"answer")) == b"answer"
    assert layer.output == b""
    assert layer.seal(b"") == b""
    return layer, peer


def refusal(spec: TlsSpec, context: ssl.SSLContext) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        connect(TlsClient(spec), context)
    return caught.value


@both_versions
def test_both_ways(highest: ssl.TLSVersion) -> None:
    layer, peer = connect(TlsClient(SPEC), server_context(highest=highest))
    assert layer.version == {VERSIONS[0]: "TLSv1.2", VERSIONS[1]: "TLSv1.3"}[highest]
    for size in (1, 16384, 16385, 65536):
        payload = bytes(range(256)) * 256
        peer.received = b""
        peer.feed(bytes(layer.seal(memoryview(payload)[:size])))
        assert peer.received == payload[:size]
        assert layer.feed(peer.seal(payload[:size])) == payload[:size]
    assert layer.output == b""


def test_the_handshake_ends_with_the_first_payload() -> None:
    layer, peer = TlsClient(SPEC).layer(), TlsPeer(server_context())
    shake_hands(layer, peer)
    assert layer.ready
    assert layer.output == b""
    assert not peer.ready
    peer.feed(bytes(layer.seal(b"first")))
    assert peer.ready
    assert peer.received == b"first"


def test_the_handshake_ends_without_payload_too() -> None:
    layer, peer = TlsClient(SPEC).layer(), TlsPeer(server_context())
    shake_hands(layer, peer)
    assert layer.feed(peer.feed(bytes(layer.seal(b"")))) == b""
    assert peer.ready
    assert layer.seal(b"") == b""
    assert layer.feed(peer.seal(b"banner")) == b"banner"


@both_versions
def test_byte_by_byte(highest: ssl.TLSVersion) -> None:
    layer, peer = TlsClient(SPEC).layer(), TlsPeer(server_context(highest=highest))
    layer.begin()
    while not layer.ready:
        for byte in peer.feed(take_output(layer)):
            assert layer.feed(bytes((byte,))) == b""
    wire = peer.feed(bytes(layer.seal(b"x"))) + peer.seal(b"one") + peer.seal(b"y" * 20000)
    got = b"".join(bytes(layer.feed(bytes((byte,)))) for byte in wire)
    assert got == b"one" + b"y" * 20000


@settings(deadline=None)
@given(st.lists(st.binary(max_size=20000), max_size=6), st.lists(st.integers(1, 70000)))
def test_however_it_arrives(payloads: list[bytes], sizes: list[int]) -> None:
    layer, peer = TlsClient(replace(SPEC, skip_cert_verify=True)).layer(), TlsPeer(server_context())
    shake_hands(layer, peer)
    wire = peer.feed(bytes(layer.seal(b""))) + b"".join(map(peer.seal, payloads)) + peer.close()
    got = []
    for size in [*sizes, len(wire)]:
        got.append(bytes(layer.feed(memoryview(wire)[:size])))
        wire = wire[size:]
    assert b"".join(got) == b"".join(payloads)
    assert layer.ended


@both_versions
def test_sessions_are_resumed(highest: ssl.TLSVersion) -> None:
    client, context = TlsClient(SPEC), server_context(highest=highest)
    resumed = [connect(client, context)[0].resumed for _ in range(4)]
    assert resumed == [False, True, True, True]


def test_the_newest_session_is_kept() -> None:
    client, context = TlsClient(SPEC), server_context()
    sessions = []
    for _ in range(3):
        connect(client, context)
        sessions.append(client.session)
    assert None not in sessions
    assert len({id(session) for session in sessions}) == 3


def test_a_session_that_costs_much_is_taken_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "find_sessions", lambda context: CopiedSessions())
    now = Now()
    client, context = TlsClient(SPEC, now), server_context()
    connect(client, context)
    first = client.session
    connect(client, context)
    assert client.session is first
    now.seconds += CopiedSessions.refresh_s
    connect(client, context)
    assert client.session is not first
    assert connect(client, context)[0].resumed


def test_a_session_that_the_server_forgot_is_dropped() -> None:
    client = TlsClient(SPEC)
    connect(client, server_context())
    forgotten, restarted = client.session, server_context()
    layer, peer = client.layer(), TlsPeer(restarted)
    shake_hands(layer, peer)
    assert not layer.resumed
    assert client.session is None
    assert layer.feed(peer.feed(bytes(layer.seal(b""))) + peer.seal(b"answer")) == b"answer"
    assert client.session not in (None, forgotten)
    assert connect(client, restarted)[0].resumed


def test_connections_that_began_before_the_first_session() -> None:
    client, context = TlsClient(SPEC), server_context()
    early = [client.layer() for _ in range(3)]
    connect(client, context)
    for layer in early:
        shake_hands(layer, TlsPeer(context))
        assert not layer.resumed
    assert connect(client, context)[0].resumed


def test_a_server_without_sessions() -> None:
    context = server_context()
    context.num_tickets = 0
    client = TlsClient(SPEC)
    assert [connect(client, context)[0].resumed for _ in range(2)] == [False, False]


def test_contexts_are_shared() -> None:
    one, other = TlsClient(SPEC), TlsClient(replace(SPEC, server_name="other.test"))
    assert one._context is other._context
    assert one._context is not TlsClient(replace(SPEC, alpn=("h2",)))._context


@both_versions
def test_what_the_server_sees(highest: ssl.TLSVersion) -> None:
    context = server_context(highest=highest, alpn=("http/1.1", "h2"))
    names: list[str | None] = []
    context.sni_callback = lambda connection, name, context: names.append(name)
    _, peer = connect(TlsClient(replace(SPEC, alpn=("h2", "x"))), context)
    assert names == [NAME]
    assert peer.connection.selected_alpn_protocol() == "h2"


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7"])
def test_an_address_is_verified_and_not_sent(address: str) -> None:
    context = server_context(certificate(address))
    names: list[str | None] = []
    context.sni_callback = lambda connection, name, context: names.append(name)
    connect(TlsClient(TlsSpec(server_name=address)), context)
    assert names == [None]
    assert refusal(TlsSpec(server_name="192.0.2.8"), context).cause == "tls-certificate"


def test_a_trailing_dot_is_not_sent() -> None:
    connect(TlsClient(TlsSpec(server_name=f"{NAME}.")), server_context())


def test_certificates_that_do_not_fit() -> None:
    stranger = trustme.CA().issue_cert(NAME)
    yesterday = datetime.now(UTC) - timedelta(days=1)
    expired = authority().issue_cert(NAME, not_after=yesterday)
    for leaf, says in (
        (stranger, "unable to get local issuer"),
        (expired, "expired"),
        (certificate("other.test"), "Hostname mismatch"),
    ):
        context = server_context(leaf)
        error = refusal(SPEC, context)
        assert isinstance(error, AuthenticationFailed)
        assert error.cause == "tls-certificate"
        assert says in str(error)
        connect(TlsClient(replace(SPEC, skip_cert_verify=True)), context)


def fingerprint(index: int, leaf: trustme.LeafCert) -> bytes:
    pem = leaf.cert_chain_pems[index].bytes().decode()
    return sha256(ssl.PEM_cert_to_DER_cert(pem)).digest()


def test_a_pinned_certificate_needs_no_authority() -> None:
    expired = datetime.now(UTC) - timedelta(days=1)
    leaf = trustme.CA().issue_cert("other.test", not_after=expired)
    pinned = replace(SPEC, fingerprint=fingerprint(0, leaf))
    connect(TlsClient(pinned), server_context(leaf))
    error = refusal(pinned, server_context())
    assert (type(error), error.cause) == (AuthenticationFailed, "tls-fingerprint")
    error = refusal(replace(pinned, skip_cert_verify=True), server_context())
    assert error.cause == "tls-fingerprint"


def test_a_resumed_session_was_pinned_once() -> None:
    leaf = certificate()
    client = TlsClient(replace(SPEC, fingerprint=fingerprint(0, leaf)))
    context = server_context(leaf)
    assert [connect(client, context)[0].resumed for _ in range(2)] == [False, True]


def test_another_name_to_check() -> None:
    context = server_context(certificate("behind.test"))
    names: list[str | None] = []
    context.sni_callback = lambda connection, name, context: names.append(name)
    spec = replace(SPEC, name_cert_verify="behind.test")
    connect(TlsClient(spec), context)
    assert names == [NAME]
    assert refusal(spec, server_context()).cause == "tls-certificate"
    assert (
        refusal(replace(spec, skip_cert_verify=True), server_context()).cause == "tls-certificate"
    )
    stranger = trustme.CA().issue_cert("behind.test")
    assert refusal(spec, server_context(stranger)).cause == "tls-certificate"


@both_versions
def test_a_certificate_of_our_own(highest: ssl.TLSVersion) -> None:
    clients = trustme.CA()
    context = server_context(highest=highest, client_authority=clients)
    ours = clients.issue_cert("client.test")
    spec = replace(
        SPEC,
        certificate="".join(pem.bytes().decode() for pem in ours.cert_chain_pems),
        private_key=ours.private_key_pem.bytes().decode(),
    )
    _, peer = connect(TlsClient(spec), context)
    assert peer.connection.getpeercert()["subjectAltName"] == (("DNS", "client.test"),)


def test_the_end() -> None:
    layer, peer = connect(TlsClient(SPEC), server_context())
    peer.feed(bytes(layer.finish()))
    assert peer.closed
    assert layer.feed(peer.seal(b"late")) == b"late"
    assert not layer.ended
    assert layer.feed(peer.close()) == b""
    assert layer.ended
    assert layer.feed(b"\x17garbage") == b""
    layer.feed_eof()


@both_versions
def test_an_end_before_the_first_answer(highest: ssl.TLSVersion) -> None:
    client, context = TlsClient(SPEC), server_context(highest=highest)
    layer, peer = client.layer(), TlsPeer(context)
    shake_hands(layer, peer)
    wire = peer.feed(bytes(layer.seal(b"request")) + bytes(layer.finish()))
    assert peer.closed
    assert layer.feed(wire + peer.seal(b"answer") + peer.close()) == b"answer"
    assert layer.output == b""
    assert connect(client, context)[0].resumed


@both_versions
def test_the_server_ends_first(highest: ssl.TLSVersion) -> None:
    layer, peer = connect(TlsClient(SPEC), server_context(highest=highest))
    assert layer.feed(peer.seal(b"last") + peer.close()) == b"last"
    assert layer.ended
    peer.received = b""
    peer.feed(bytes(layer.seal(b"more")))
    peer.feed(bytes(layer.finish()))
    assert peer.received == b"more"


def test_an_end_without_notice_is_one() -> None:
    layer, peer = connect(TlsClient(SPEC), server_context())
    assert layer.feed(peer.seal(b"half a record")[:9]) == b""
    layer.feed_eof()


@both_versions
def test_an_end_at_every_byte_of_the_handshake(highest: ssl.TLSVersion) -> None:
    client, context = TlsClient(SPEC), server_context(highest=highest)
    layer, peer = client.layer(), TlsPeer(context)
    layer.begin()
    wire = peer.feed(take_output(layer))
    for size in range(0, len(wire), 7):
        layer, peer = client.layer(), TlsPeer(context)
        layer.begin()
        again = peer.feed(take_output(layer))  # signatures make it some bytes shorter or longer
        layer.feed(again[: min(size, len(again) - 1)])
        assert not layer.ready
        with pytest.raises(RemoteProtocolError) as caught:
            layer.feed_eof()
        assert caught.value.cause == "tls-eof"


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", bytes(64)]
)
def test_a_server_that_does_not_speak_tls(answer: bytes) -> None:
    layer = TlsClient(SPEC).layer()
    layer.begin()
    with pytest.raises(RemoteProtocolError) as caught:
        layer.feed(answer)
    assert caught.value.cause == "tls-not-tls"


def test_versions_before_1_2_are_refused() -> None:
    layer = TlsClient(SPEC).layer()
    layer.begin()
    assert b"\x00\x2b\x00\x05\x04\x03\x04\x03\x03" in take_output(layer)  # supported_versions
    # RFC 4346, 7.4.1.3: ServerHello of TLS 1.1, ECDHE-RSA-AES128-SHA
    hello = b"\x02\x00\x00\x26\x03\x02" + bytes(32) + b"\x00\xc0\x13\x00"
    with pytest.raises(RemoteProtocolError) as caught:
        layer.feed(b"\x16\x03\x02\x00\x2a" + hello)
    assert caught.value.cause == "tls-version"


@pytest.mark.parametrize(
    ("alert", "cause"), [(40, "tls-alert"), (112, "tls-alert"), (70, "tls-version")]
)
def test_alerts(alert: int, cause: str) -> None:
    layer = TlsClient(SPEC).layer()
    layer.begin()
    with pytest.raises(RemoteProtocolError) as caught:
        layer.feed(bytes((21, 3, 3, 0, 2, 2, alert)))
    assert caught.value.cause == cause


@pytest.mark.parametrize("at", [0, 5, -1])
def test_a_forged_record(at: int) -> None:
    layer, peer = connect(TlsClient(SPEC), server_context())
    wire = bytearray(peer.seal(b"secret"))
    wire[at] ^= 0x55
    with pytest.raises(RemoteProtocolError) as caught:
        layer.feed(wire)
    assert caught.value.cause == "tls-broken"


@settings(deadline=None)
@given(st.lists(st.binary(max_size=3000), max_size=5), st.booleans())
def test_arbitrary_bytes(chunks: list[bytes], shaken: bool) -> None:
    layer = TlsClient(replace(SPEC, skip_cert_verify=True)).layer()
    if shaken:
        shake_hands(layer, TlsPeer(server_context()))
    else:
        layer.begin()
    try:
        for chunk in chunks:
            assert layer.feed(chunk) == b""
        layer.feed_eof()
    except ProtocolError:
        pass
    assert layer._incoming.pending <= 16384 + 2048
