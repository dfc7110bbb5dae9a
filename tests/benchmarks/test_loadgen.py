"""The load generator tells the truth about a server on the loopback: counts and failures."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

BENCHMARKS = Path(__file__).resolve().parents[2] / "scripts" / "benchmarks"

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tools")
    for name in ("loadgen", "loadserver"):
        source = BENCHMARKS / f"{name}.c"
        flags = ["-O2", "-Wall", "-Wextra", "-Werror"]
        subprocess.run(["cc", *flags, "-o", directory / name, source], check=True)
    return directory


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET6, kind) as sock:
        sock.bind(("::", 0))
        return int(sock.getsockname()[1])


@contextmanager
def server(tools: Path, mode: str, port: int, *arguments: str) -> Iterator[None]:
    argv = [tools / "loadserver", mode, str(port), *arguments]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "listening\n"
            yield
        finally:
            process.kill()


def load(tools: Path, *arguments: object) -> Any:
    argv = [str(tools / "loadgen"), *map(str, arguments)]
    return json.loads(subprocess.run(argv, check=True, capture_output=True, timeout=50).stdout)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_http_counts_every_connection(tools: Path, host: str) -> None:
    port = free_port()
    with server(tools, "http", port, "1024"):
        report = load(tools, "http", host, port, 500, 20, "/")
    assert report["tried"] == report["ok"] == 500
    assert not any(report["errors"].values())
    assert 0 < report["p50"] <= report["p90"] <= report["p99"] <= report["p99.9"] <= report["max"]


def test_http_names_refused_connections(tools: Path) -> None:
    report = load(tools, "http", "127.0.0.1", free_port(), 20, 5, "/")
    assert report["ok"] == 0
    assert report["errors"]["refused"] == 20


def test_http_does_not_take_any_answer_for_a_response(tools: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        argv = [tools / "loadgen", "http", "127.0.0.1", str(listener.getsockname()[1])]
        with subprocess.Popen([*argv, "1", "1", "/"], stdout=subprocess.PIPE) as client:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort")
            report = json.loads(client.communicate(timeout=20)[0])
    assert report["ok"] == 0
    assert report["errors"]["wrong-answer"] == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_udp_gets_its_datagrams_back(tools: Path, host: str) -> None:
    port = free_port(socket.SOCK_DGRAM)
    with server(tools, "udp-echo", port):
        report = load(tools, "udp", host, port, 10, 20, 100, 1, 1)
    assert report["tried"] == report["ok"] == 200


def test_udp_counts_what_is_lost(tools: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        report = load(tools, "udp", "127.0.0.1", silent.getsockname()[1], 5, 10, 100, 1, 0)
    assert report["tried"] == 50
    assert report["ok"] == 0


def test_idle_flows_are_proven_and_held(tools: Path) -> None:
    port = free_port()
    argv = [tools / "loadgen", "idle", "127.0.0.1", str(port), "50"]
    with (
        server(tools, "hold", port),
        subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as holder,
    ):
        try:
            assert holder.stdout is not None
            assert json.loads(holder.stdout.readline())["ok"] == 50
            assert holder.poll() is None
        finally:
            holder.kill()
