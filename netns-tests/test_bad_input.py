"""Starts that cannot succeed: one clear sentence, an exit code, and the host as it was."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.gateway import Gateway, command, environment
from support.tcp import connects

DIRECT = {"rules": ["MATCH,DIRECT"]}


@pytest.fixture(scope="module")
def quiet_rig(module_rig_factory):
    """A rig without a gateway running in it."""
    rig = module_rig_factory(clients=1)
    assert rig.servers.process.running
    return rig


def refused(rig, config, *, code, prefix=(), traces=True):
    """What a start that fails has to say; the host must be as before."""
    gateway = Gateway(rig, config)
    before = gateway.traces()
    done = rig.gateway.run(
        [*prefix, *command("run", "-f", str(gateway.file))],
        env=environment(),
        check=False,
        timeout=30,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    if traces:
        assert gateway.traces() == before
    return "\n".join(line for line in done.stderr.splitlines() if not line.startswith("time="))


def unshared(script):
    """A prefix that runs the command in a mount namespace of its own, prepared by a script."""
    return ["unshare", "-m", "sh", "-c", f'{script} && exec "$@"', "sh"]


def test_wrong_yaml_names_the_line(quiet_rig):
    said = refused(quiet_rig, "mode: rule\nrules: [a\n", code=2)
    assert said.startswith("mihomo-tproxy: ")
    assert "line " in said
    assert said.count("\n") == 0


def test_every_wrong_rule_is_listed_with_its_line(quiet_rig):
    text = (
        "mode: rule\n"
        "rules:\n"
        "  - NONSENSE,1,DIRECT\n"
        "  - DST-PORT,99999,DIRECT\n"
        "  - IP-CIDR,10.0.0.0/8,DIRECT\n"
        "  - MATCH,NOWHERE\n"
    )
    said = refused(quiet_rig, text, code=2)
    for number in (3, 4, 6):
        assert f"line {number}: rules[{number - 3}]" in said
    assert "line 5" not in said


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"gateway": {"workers": 0}}, "gateway.workers"),
        ({"gateway": {"on-failure": "perhaps"}}, "gateway.on-failure"),
        ({"gateway": {"bypass": ["nowhere"]}}, "gateway.bypass[0]"),
        ({"mode": "sideways"}, "mode"),
        ({"tproxy-port": 70000}, "tproxy-port"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_value_is_named(quiet_rig, config, word):
    assert word in refused(quiet_rig, config, code=2)


def test_a_file_that_is_not_there(quiet_rig):
    done = quiet_rig.gateway.run(
        command("run", "-f", "/nonexistent/x.yaml"), env=environment(), check=False
    )
    assert done.returncode == 2
    assert "there is no configuration file" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_unknown_interface(quiet_rig):
    said = refused(quiet_rig, {**DIRECT, "gateway": {"lan": ["nosuch0"]}}, code=3)
    assert "'nosuch0'" in said
    assert "lan0" in said
    assert said.count("\n") == 0


def test_without_privileges(quiet_rig, tmp_path_factory):
    """As nobody, and as a root without the capabilities."""
    gateway = Gateway(quiet_rig, DIRECT)
    before = gateway.traces()
    tree = readable_copy(tmp_path_factory)
    file = tree / "config.yaml"
    file.write_text(gateway.file.read_text(encoding="utf-8"), encoding="utf-8")
    file.chmod(0o644)
    for prefix in (
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"],
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all"],
    ):
        done = quiet_rig.gateway.run(
            [*prefix, sys.executable, "-m", "mihomo_tproxy", "run", "-f", str(file)],
            env={**os.environ, "PYTHONPATH": str(tree)},
            cwd=tree,
            check=False,
        )
        assert done.returncode == 3, done.stderr
        assert "root" in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stderr.count("\n") == 1
    assert gateway.traces() == before


def readable_copy(tmp_path_factory):
    """The package where anybody can read it."""
    import shutil

    import mihomo_tproxy

    tree = tmp_path_factory.mktemp("copy")
    package = Path(mihomo_tproxy.__file__).parent
    shutil.copytree(package, tree / "mihomo_tproxy", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(package.parent / "bpf", tree / "bpf")
    for place in (tree, *tree.parents):
        if place.stat().st_uid == os.geteuid() and place.is_relative_to("/tmp"):
            place.chmod(place.stat().st_mode | 0o055)
    return tree


def test_without_bcc(quiet_rig):
    hide = "mount -t tmpfs none /usr/lib/python3/dist-packages/bcc"
    said = refused(quiet_rig, DIRECT, code=3, prefix=unshared(hide))
    assert "python3-bpfcc" in said
    assert said.count("\n") == 0


def test_without_headers(quiet_rig):
    hide = "mount -t tmpfs none /usr/src && mount -t tmpfs none /lib/modules"
    said = refused(quiet_rig, DIRECT, code=3, prefix=unshared(hide))
    assert "linux-headers" in said
    assert said.count("\n") == 0


def test_without_bpffs(quiet_rig):
    said = refused(quiet_rig, DIRECT, code=3, prefix=unshared("umount /sys/fs/bpf"))
    assert "mount -t bpf bpf /sys/fs/bpf" in said
    assert said.count("\n") == 0


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["tcp", "udp"])
def test_tproxy_port_is_taken(quiet_rig, kind):
    with quiet_rig.gateway.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 7893))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        said = refused(quiet_rig, {**DIRECT, "tproxy-port": 7893}, code=4)
    assert "tproxy-port" in said
    assert "127.0.0.1 port 7893" in said
    assert said.count("\n") == 0


@pytest.fixture
def rules(quiet_rig):
    """Policy rules and routes of somebody else, by `ip` lines; removed after the test."""
    added = []

    def add(*lines):
        quiet_rig.gateway.ip(*lines)
        added.extend(lines)

    yield add
    quiet_rig.gateway.ip(*(line.replace(" add ", " del ") for line in added))


def test_every_mark_is_taken(quiet_rig, rules):
    rules("rule add fwmark 0xffffffff/0xfffffffe lookup 100 prio 5000")
    said = refused(quiet_rig, DIRECT, code=3)
    assert "no mark bit is free" in said
    assert said.count("\n") == 0


def test_a_rule_of_priority_one(quiet_rig, rules):
    rules("rule add from 192.0.2.1 lookup main prio 1")
    said = refused(quiet_rig, DIRECT, code=3)
    assert "priority 1" in said
    assert said.count("\n") == 0


def test_marks_and_tables_of_others_are_avoided(quiet_rig, rules):
    """Tailscale's, mwan3's and a lookalike of ours; and rules that come before ours would."""
    rules(
        "rule add fwmark 0x80000/0xff0000 lookup 2330 prio 5210",
        "rule add fwmark 0x20000000/0x30000000 lookup 77 prio 700",
        "route add 192.0.2.0/24 dev wan0 table 2333",
    )
    with Gateway(quiet_rig, {"rules": ["MATCH,REJECT"]}) as gateway:
        status = gateway.status()
        assert status["mark"] & 0x30FF0000 == 0
        assert status["table"] == 2334
        shown = quiet_rig.gateway.run(["ip", "rule", "show", "priority", "699"]).stdout
        assert "iif lan0" in shown
        assert not connects(quiet_rig.clients[0], quiet_rig.destination(1))


def test_unknown_keys_warn_and_do_not_stop_it(quiet_rig):
    config = {"rulez": [], "dns": {}, "rules": ["MATCH,DIRECT"], "gateway": {"wokers": 2}}
    with Gateway(quiet_rig, config) as gateway:
        assert "rules" in next(x for x in gateway.output.splitlines() if "rulez" in x)
        assert "workers" in next(x for x in gateway.output.splitlines() if "wokers" in x)
        assert "ignored, no effect in this version: dns" in gateway.output


def test_check_says_the_same_without_privileges(quiet_rig):
    file = Gateway(quiet_rig, "rules: ['MATCH,NOWHERE']\n").file
    for arguments in (("check", "-f"), ("-t", "-f")):
        done = subprocess.run(
            command(*arguments, str(file)),
            env=environment(),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 2
        assert "line 1: rules[0]" in done.stderr + done.stdout
