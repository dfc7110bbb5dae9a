"""Programs: their output, their waits, their end."""

from __future__ import annotations

import signal
import sys

import pytest

from mihomo_tproxy.errors import RigError
from mihomo_tproxy.rig.process import Process


@pytest.fixture
def start(tmp_path):
    started = []

    def run(*argv):
        process = Process(argv, log=tmp_path / f"{len(started)}.log", name="here: it")
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()


def test_output_of_both_streams_is_kept_after_the_end(start):
    process = start("sh", "-c", "echo out; echo err >&2; exit 4")
    assert process.wait(10) == 4
    assert not process.running
    assert process.output == "out\nerr\n"


def test_wait_for_line_gives_the_match(start):
    process = start("sh", "-c", "echo noise; echo port 80; exec sleep 60")
    assert process.wait_for_line(r"^port (\d+)$")[1] == "80"
    assert process.running


def test_a_line_printed_right_before_the_end_counts(start):
    process = start("echo", "done")
    process.wait(10)
    assert process.wait_for_line("done")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo why; exit 3", r"it ended \(3\) and has not printed 'x'; it printed:\nwhy"),
        ("exec sleep 60", "has not printed 'x' in 0.05 s"),
    ],
)
def test_a_line_that_does_not_come(start, script, message):
    process = start("sh", "-c", script)
    if "sleep" not in script:
        process.wait(10)
    with pytest.raises(RigError, match=message):
        process.wait_for_line("x", timeout=0.05)


@pytest.mark.parametrize(("network", "kind"), [("tcp", "SOCK_STREAM"), ("udp", "SOCK_DGRAM")])
def test_wait_for_port(start, network, kind):
    program = (
        "import socket, sys, time\n"
        f"s = socket.socket(socket.AF_INET, socket.{kind})\n"
        "s.bind(('127.0.0.1', 0))\n"
        "print('port', s.getsockname()[1], flush=True)\n"
        "if s.type == socket.SOCK_STREAM: s.listen()\n"
        "time.sleep(60)\n"
    )
    process = start(sys.executable, "-c", program)
    process.wait_for_port(int(process.wait_for_line(r"port (\d+)$")[1]), network)
    with pytest.raises(RigError, match=f"does not listen on {network} port 1 in"):
        process.wait_for_port(1, network, timeout=0.05)


def test_stop_is_sigterm_and_then_sigkill(start):
    polite = start("sleep", "60")
    assert polite.stop() == -signal.SIGTERM
    rude = start("sh", "-c", "trap '' TERM; echo on; while :; do sleep 0.1; done")
    rude.wait_for_line("on")
    assert rude.stop(timeout=0.1) == -signal.SIGKILL
    assert rude.stop() == -signal.SIGKILL


def test_kill_with_another_signal(start):
    process = start("sleep", "60")
    process.kill(signal.SIGUSR1)
    assert process.wait(10) == -signal.SIGUSR1


def test_wait_has_an_end(start):
    with pytest.raises(RigError, match=r"it has not ended in 0\.05 s"):
        start("sleep", "60").wait(0.05)


def test_a_program_that_is_not_there(start):
    with pytest.raises(RigError, match="cannot be started: No such file"):
        start("/no/such/program")
