"""Plain HTTP: requests one after another, what is passed on and what is not, and smuggling."""

from __future__ import annotations

import errno
import hashlib
import socket
from itertools import zip_longest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.inbound import InboundRig
from support.loopback import both_loops, readable, receive_all

from mihomo_tproxy.config.specs.listener import AccessSpec
from mihomo_tproxy.inbound import exchange
from mihomo_tproxy.inbound.exchange import KEEP_ALIVE_S, PlainProxy
from mihomo_tproxy.inbound.handshake import HANDSHAKE_S

END = b"\r\n\r\n"


def get(rig, path="/", *fields, method="GET", version="1.1", port=None, body=b""):
    line = f"{method} http://127.0.0.1:{port or rig.port}{path} HTTP/{version}"
    return "\r\n".join([line, "Host: elsewhere", *fields, "", ""]).encode() + body


def response(body=b"", *fields, status="200 OK", version="1.1"):
    lines = [f"HTTP/{version} {status}", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


@both_loops
def test_requests_one_after_another_on_one_connection(loop_factory):
    with InboundRig("http", loop_factory=loop_factory) as rig:
        client = rig.client(get(rig, "/one"))
        server = rig.accept()
        for name in (b"one", b"two", b"three"):
            if name != b"one":
                client.sendall(get(rig, f"/{name.decode()}"))
            got = rig.read_until(server, END)
            assert got == b"GET /%b HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % (name, rig.port)
            server.sendall(response(name))
            rig.expect(client, response(name))
        assert len(rig.engine.asked) == 1
        assert rig.engine.asked[0].inbound == "HTTP"
        assert rig.tracker.errors == {}


def test_each_request_may_go_elsewhere():
    with InboundRig("http") as rig, socket.create_server(("127.0.0.1", 0)) as other:
        client = rig.client(get(rig))
        first = rig.accept()
        rig.read_until(first, END)
        first.sendall(response(b"1"))
        rig.expect(client, response(b"1"))
        client.sendall(get(rig, port=other.getsockname()[1]))
        rig.turn_until(lambda: readable(other))
        second = rig.keep(other.accept()[0])
        rig.read_until(second, END)
        second.sendall(response(b"2"))
        rig.expect(client, response(b"2"))
        assert rig.read_until_end(first) == b""
        assert len(rig.engine.asked) == 2


def test_pipelined_requests_are_answered_in_order():
    with InboundRig("http") as rig:
        client = rig.client(b"".join(get(rig, f"/{n}") for n in range(5)))
        server = rig.accept()
        for n in range(5):
            assert rig.read_until(server, END).startswith(b"GET /%d " % n)
            rig.turn(0.002)
            assert not readable(server)  # the next waits until this one is answered
            server.sendall(response(b"%d" % n))
            rig.expect(client, response(b"%d" % n))


def test_what_is_meant_for_us_is_not_passed_on():
    with InboundRig("http", access=AccessSpec(users=(("u", "p"),))) as rig:
        fields = (
            *("Proxy-Authorization: Basic dTpw", "Proxy-Connection: keep-alive", "TE: trailers"),
            *("Connection: X-Mine, keep-alive", "X-Mine: 1", "Keep-Alive: 5", "X-Other: 2"),
            "Authorization: Basic eDp5",
        )
        client = rig.client(get(rig, "/a?b=c", *fields))
        server = rig.accept()
        head = rig.read_until(server, END).decode().split("\r\n")
        assert head == [
            *("GET /a?b=c HTTP/1.1", f"Host: 127.0.0.1:{rig.port}", "X-Other: 2"),
            *("Authorization: Basic eDp5", "", ""),
        ]
        server.sendall(response(b"x", "Connection: Y", "Y: 1", "Proxy-Authenticate: B", "Z: 2"))
        rig.expect(client, response(b"x", "Z: 2"))
        assert rig.engine.asked[0].inbound_user == "u"


def test_password_is_asked_of_each_request():
    with InboundRig("http", access=AccessSpec(users=(("u", "p"),))) as rig:
        client = rig.client(get(rig, "/", "Proxy-Authorization: Basic dTpw"))
        server = rig.accept()
        rig.read_until(server, END)
        server.sendall(response(b"x"))
        rig.expect(client, response(b"x"))
        client.sendall(get(rig))
        assert rig.read_until_end(client).startswith(b"HTTP/1.1 407 ")


def test_request_bodies():
    with InboundRig("http") as rig:
        client = rig.client(get(rig, "/", "Content-Length: 5", method="POST", body=b"he"))
        server = rig.accept()
        rig.read_until(server, END)
        rig.expect(server, b"he")
        client.sendall(b"llo" + get(rig, "/next"))
        rig.expect(server, b"llo")
        server.sendall(response(b"ok"))
        rig.expect(client, response(b"ok"))
        assert rig.read_until(server, END).startswith(b"GET /next ")


def test_chunks_both_ways():
    chunks = b"5\r\nhello\r\n3;x=y\r\nabc\r\n0\r\nTrailer: t\r\n\r\n"
    with InboundRig("http") as rig:
        coded = "Transfer-Encoding: chunked"
        client = rig.client(get(rig, "/", coded, method="POST", body=chunks + get(rig, "/next")))
        server = rig.accept()
        assert coded.encode() in rig.read_until(server, END)
        rig.expect(server, chunks)
        answer = f"HTTP/1.1 200 OK\r\n{coded}\r\n\r\n".encode() + chunks
        server.sendall(answer)
        rig.expect(client, answer)
        assert rig.read_until(server, END).startswith(b"GET /next ")


def test_response_byte_by_byte():
    chunks = b"5\r\nhello\r\n0\r\n\r\n"
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
    with InboundRig("http") as rig:
        client = rig.client(get(rig))
        server = rig.accept()
        rig.read_until(server, END)
        for byte in answer:
            server.sendall(bytes([byte]))
            rig.turn()
        rig.expect(client, answer)


def test_body_until_the_end_of_the_connection():
    with InboundRig("http") as rig:
        client = rig.client(get(rig))
        server = rig.accept()
        rig.read_until(server, END)
        server.sendall(b"HTTP/1.0 200 OK\r\nX: y\r\n\r\nall of it")
        server.close()
        got = rig.read_until_end(client)
        assert got == b"HTTP/1.1 200 OK\r\nX: y\r\nConnection: close\r\n\r\nall of it"
        assert rig.tracker.errors == {}


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", "200 OK"), ("GET", "304 Not Modified"), ("GET", "204 No")]
)
def test_responses_without_body(method, status):
    with InboundRig("http") as rig:
        client = rig.client(get(rig, method=method))
        server = rig.accept()
        rig.read_until(server, END)
        length = "" if status.startswith("204") else "Content-Length: 99\r\n"
        answer = f"HTTP/1.1 {status}\r\n{length}\r\n".encode()
        server.sendall(answer)
        rig.expect(client, answer)
        client.sendall(get(rig, "/next"))
        assert rig.read_until(server, END).startswith(b"GET /next ")


def test_expect_100_continue():
    with InboundRig("http") as rig:
        fields = ("Content-Length: 4", "Expect: 100-continue")
        client = rig.client(get(rig, "/", *fields, method="PUT"))
        server = rig.accept()
        assert b"Expect: 100-continue" in rig.read_until(server, END)
        server.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        rig.expect(client, b"HTTP/1.1 100 Continue\r\n\r\n")
        client.sendall(b"body")
        rig.expect(server, b"body")
        server.sendall(response(b"done"))
        rig.expect(client, response(b"done"))


def test_refusal_instead_of_100_continue_ends_the_connection():
    with InboundRig("http") as rig:
        fields = ("Content-Length: 4", "Expect: 100-continue")
        client = rig.client(get(rig, "/", *fields, method="PUT"))
        server = rig.accept()
        rig.read_until(server, END)
        server.sendall(response(b"no", status="417 Expectation Failed"))
        got = rig.read_until_end(client)
        assert got.startswith(b"HTTP/1.1 417 ")
        assert b"\r\nConnection: close\r\n" in got


def test_http_1_0_client():
    with InboundRig("http") as rig:
        client = rig.client(get(rig, version="1.0"))
        server = rig.accept()
        assert rig.read_until(server, END).startswith(b"GET / HTTP/1.0\r\n")
        server.sendall(response(b"x", version="1.0"))
        assert rig.read_until_end(client).endswith(b"Connection: close\r\n\r\nx")


def test_client_that_wants_to_close():
    with InboundRig("http") as rig:
        client = rig.client(get(rig, "/", "Proxy-Connection: close"))
        server = rig.accept()
        rig.read_until(server, END)
        server.sendall(response(b"x"))
        assert rig.read_until_end(client).endswith(b"Connection: close\r\n\r\nx")
        assert rig.read_until_end(server) == b""


def test_upgrade_joins_the_connections():
    with InboundRig("http") as rig:
        client = rig.client(get(rig, "/ws", "Connection: Upgrade", "Upgrade: websocket"))
        server = rig.accept()
        head = rig.read_until(server, END)
        assert b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" in head
        answer = (
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        server.sendall(answer + b"frame")
        rig.expect(client, answer + b"frame")
        client.sendall(b"\x00GET")
        rig.expect(server, b"\x00GET")
        client.shutdown(socket.SHUT_WR)
        assert rig.read_until_end(server) == b""
        server.sendall(b"last")
        server.close()
        assert rig.read_until_end(client) == b"last"
        rig.turn_until(lambda: rig.tracker.tcp_live == 0)
        assert rig.tracker.errors == {}


def test_connect_after_a_plain_request():
    with InboundRig("http") as rig:
        client = rig.client(get(rig))
        server = rig.accept()
        rig.read_until(server, END)
        server.sendall(response(b"x"))
        rig.expect(client, response(b"x"))
        client.sendall(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\nearly" % rig.port)
        tunnel = rig.accept()
        rig.expect(client, b"HTTP/1.1 200 Connection established\r\n\r\n")
        rig.expect(tunnel, b"early")


def test_server_that_closed_between_requests_is_asked_again():
    with InboundRig("http") as rig:
        client = rig.client(get(rig))
        server = rig.accept()
        rig.read_until(server, END)
        server.sendall(response(b"x"))
        rig.expect(client, response(b"x"))
        server.close()
        client.sendall(get(rig, "/again"))
        server = rig.accept()
        assert rig.read_until(server, END).startswith(b"GET /again ")
        server.sendall(response(b"y"))
        rig.expect(client, response(b"y"))


def test_failures_are_told_and_the_client_stays():
    with InboundRig("http") as rig:
        rig.engine.by_port[81] = "REJECT"
        client = rig.client(get(rig, port=81))
        got = rig.read_until(client, END)
        assert got.startswith(b"HTTP/1.1 403 Forbidden\r\n")
        rig.expect(client, b"rejected\n")
        client.sendall(get(rig))
        rig.read_until(rig.accept(), END)


def test_nobody_listens():
    with InboundRig("http") as rig:
        rig.server.close()
        client = rig.client(get(rig))
        assert rig.read_until(client, END).startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
        rig.expect(client, b"dial-refused\n")


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"", "http-no-response"),
        (b"SSH-2.0-x\r\n\r\n", "http-bad-head"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", "http-bad-head"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "http-bad-framing"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "http-bad-framing",
        ),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 66000, "http-head-too-large"),
    ],
)
def test_servers_that_are_not_understood(answer, cause):
    with InboundRig("http") as rig:
        client = rig.client(get(rig))
        server = rig.accept()
        rig.read_until(server, END)
        rig.in_thread(lambda: server.sendall(answer))
        server.close()
        assert rig.read_until_end(client).startswith(b"HTTP/1.1 502 ")
        assert rig.tracker.errors.pop(cause) == 1
        assert rig.reactor.crashes == 0


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n",
    ],
)
def test_half_a_body_is_not_passed_off_as_a_whole_one(answer):
    with InboundRig("http") as rig:
        client = rig.client(get(rig))
        server = rig.accept()
        rig.read_until(server, END)
        server.sendall(answer)
        server.close()
        with pytest.raises(ConnectionResetError):
            rig.read_until_end(client)


def test_a_response_nobody_asked_for_is_no_answer_to_the_next_request():
    with InboundRig("http") as rig:
        client = rig.client(get(rig))
        server = rig.accept()
        rig.read_until(server, END)
        server.sendall(response(b"x") + response(b"poison"))
        rig.expect(client, response(b"x"))
        client.sendall(get(rig, "/next"))
        server = rig.accept()
        rig.read_until(server, END)
        server.sendall(response(b"y"))
        rig.expect(client, response(b"y"))


def test_a_bad_chunk_ends_the_request():
    with InboundRig("http") as rig:
        client = rig.client(
            get(rig, "/", "Transfer-Encoding: chunked", method="POST", body=b"zz\r\n")
        )
        assert rig.read_until_end(client).startswith(b"HTTP/1.1 400 ")


def test_large_bodies_both_ways_at_once():
    data = bytes(range(256)) * 16384
    with InboundRig("http") as rig:
        client = rig.client(get(rig, "/", f"Content-Length: {len(data)}", method="POST"))
        server = rig.accept()
        rig.read_until(server, END)
        found = {}

        def read(sock, name, size):
            digest = hashlib.sha256()
            while size:
                chunk = sock.recv(min(size, 1 << 16))
                digest.update(chunk)
                size -= len(chunk)
            found[name] = digest.digest()

        def work():
            client.sendall(data)

        def serve():
            read(server, "up", len(data))
            server.sendall(response(data))

        import threading

        threads = [threading.Thread(target=each) for each in (work, serve)]
        for thread in threads:
            thread.start()
        head = rig.read_until(client, END)
        assert b"Content-Length: %d" % len(data) in head
        rig.in_thread(lambda: read(client, "down", len(data)))
        for thread in threads:
            thread.join()
        assert found["up"] == found["down"] == hashlib.sha256(data).digest()


def test_idle_client_is_let_go():
    with InboundRig("http") as rig:
        client = rig.client(get(rig))
        server = rig.accept()
        rig.read_until(server, END)
        rig.later(KEEP_ALIVE_S * 10)
        server.sendall(response(b"x"))
        rig.expect(client, response(b"x"))
        rig.later(KEEP_ALIVE_S + 1)
        assert rig.read_until_end(client) == b""
        assert rig.tracker.errors == {}


def test_half_a_second_head_is_given_up_sooner():
    with InboundRig("http") as rig:
        client = rig.client(get(rig))
        server = rig.accept()
        rig.read_until(server, END)
        server.sendall(response(b"x"))
        rig.expect(client, response(b"x"))
        client.sendall(b"GET ")
        rig.turn(0.02)
        rig.later(HANDSHAKE_S + 1)
        with pytest.raises(ConnectionResetError):
            rig.read_until_end(client)
        assert rig.tracker.errors == {"handshake-timeout": 1}


_SAID = st.sampled_from(
    [
        *(b"GET http://127.0.0.1:%d/ HTTP/1.1\r\n", b"POST http://127.0.0.1:%d/ HTTP/1.1\r\n"),
        *(b"\r\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"abc"),
        *(b"3\r\nabc\r\n", b"0\r\n\r\n", b"Connection: upgrade\r\nUpgrade: x\r\n", b"\xff\0"),
        *(b"Connection: close\r\n", b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n", b"Expect: 100-continue"),
    ]
)
_ANSWERED = st.sampled_from(
    [
        *(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 101 X\r\n", b"HTTP/1.0 204 X\r\n", b"\r\n", b"abc"),
        *(b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n", b"\xff"),
        *(b"0\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"Connection: close\r\n", b""),
    ]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_SAID, max_size=8), st.lists(_ANSWERED, max_size=8), st.booleans())
def test_whatever_both_sides_say_nothing_breaks(said, answered, resets):
    with InboundRig("http") as rig:
        client = rig.client()
        client.setblocking(False)
        rig.server.setblocking(False)
        server = None
        for ours, theirs in zip_longest(said, answered, fillvalue=b"\r\n"):
            try:
                client.send(ours.replace(b"%d", b"%d" % rig.port))
                rig.turn(0.001)
                if server is None and readable(rig.server):
                    server = rig.keep(rig.server.accept()[0])
                if server is not None:
                    server.send(theirs)
            except OSError:
                break
            rig.turn(0.001)
        if resets:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        if server is not None:
            server.close()
        rig.turn_until(lambda: rig.inbound.clients == 0)
        rig.turn_until(lambda: rig.tracker.tcp_live == 0)
        assert rig.reactor.crashes == 0


def test_client_that_leaves_takes_the_server_along():
    with InboundRig("http") as rig:
        client = rig.client(get(rig, "/", "Content-Length: 9", method="POST", body=b"half"))
        server = rig.accept()
        rig.read_until(server, END)
        client.close()
        rig.expect(server, b"half")
        rig.wait_error("http-truncated")
        rig.turn_until(lambda: readable(server))


def test_connect_does_not_overtake_an_answer_that_waits():
    with InboundRig("http") as rig:
        client = rig.keep(socket.socket())
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(rig.proxy_address)
        client.sendall(get(rig) + b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n" % rig.port)
        server = rig.accept()
        rig.read_until(server, END)
        (proxy,) = {each for each in rig.reactor._table if isinstance(each, PlainProxy)}
        proxy._client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        answer = response(bytes(60_000))
        server.sendall(answer)
        rig.turn(0.01)
        rig.expect(client, answer + b"HTTP/1.1 400 ")
        assert rig.tracker.errors == {"http-bad-framing": 1}


def test_an_upgrade_that_cannot_be_watched_ends_both(monkeypatch):
    with InboundRig("http") as rig:
        client = rig.client(get(rig, "/", "Connection: Upgrade", "Upgrade: toy"))
        server = rig.accept()
        rig.read_until(server, END)

        def refuse(*args):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(exchange, "Flow", refuse)
        fields = ("Connection: Upgrade", "Upgrade: toy")
        head = "\r\n".join(["HTTP/1.1 101 Switching Protocols", *fields, "", ""]).encode()
        server.sendall(head)
        rig.turn_until(lambda: "internal-error" in rig.tracker.errors)
        assert rig.read_until_end(server) == b""
        server.close()
        rig.turn_until(lambda: rig.tracker.tcp_live == 0)
        with pytest.raises(ConnectionResetError):
            receive_all(client)
