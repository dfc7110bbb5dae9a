"""Configurations and provider files made to do harm: refused in a sentence, or left out, soon.

The gateway runs all the while; what it is given comes by a reload.
"""

from __future__ import annotations

import os

import pytest
import zstandard
from support.governed import DIRECT, group

pytestmark = pytest.mark.timeout(60)

HUGE = 200 << 20
BOMB = 4 << 30
"""Bytes that a few kilobytes unpack to."""
EXPLODES = "(?!z)(x+x+)+y"
"""Nothing but backtracking can do the lookahead."""


def sock(name, **options):
    more = {key.replace("_", "-"): value for key, value in options.items()}
    return {"name": name, "type": "socks5", "server": "198.51.100.1", "port": 1080, **more}


def rule_file(path, form="yaml", behavior="ipcidr"):
    entry = {"type": "file", "behavior": behavior, "format": form, "path": path}
    return {"rule-providers": {"P": entry}, "rules": ["RULE-SET,P,REJECT", "MATCH,DIRECT"]}


def proxy_file(path, **options):
    return {
        "proxy-providers": {"P": {"type": "file", "path": path, **options}},
        "proxy-groups": [group("G", "select", use=["P"])],
        "rules": ["MATCH,G"],
    }


REFUSED = {
    "groups in a circle": (
        {
            "proxy-groups": [
                group("A", "select", "B"),
                group("B", "url-test", "C"),
                group("C", "select", "A"),
            ]
        },
        "goes round in a circle: A -> B -> C -> A",
    ),
    "a group in itself": (
        {"proxy-groups": [group("A", "select", "A")]},
        "goes round in a circle: A -> A",
    ),
    "dialers in a circle": (
        {"proxies": [sock("a", dialer_proxy="b"), sock("b", dialer_proxy="a")]},
        "goes round in a circle: a -> b -> a",
    ),
    "a dialer's group in a circle": (
        {"proxies": [sock("a", dialer_proxy="G")], "proxy-groups": [group("G", "select", "a")]},
        "goes round in a circle: a -> G -> a",
    ),
    "a path upwards": (rule_file("../elsewhere"), "not inside the home directory"),
    "an absolute path": (proxy_file("/etc/passwd"), "not inside the home directory"),
    "a link that leads away": (rule_file("away/hostname"), "not inside the home directory"),
    "a filter that explodes": (proxy_file("none", filter=EXPLODES), "can take too long"),
    "a rule that explodes": ({"rules": [f"DOMAIN-REGEX,{EXPLODES},DIRECT"]}, "can take too long"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(stage, case):
    config, sentence = REFUSED[case]
    away = stage.gateway.home / "away"
    if not away.is_symlink():
        away.symlink_to("/etc")
    seen = len(stage.gateway.output)
    stage.gateway.reload(config, fails=True)
    said = stage.gateway.output[seen:]
    assert sentence in said
    assert "reload failed, the old configuration stays" in said
    assert stage.carrier() == DIRECT


def huge(file):
    with file.open("wb") as opened:
        opened.truncate(HUGE)


def bomb(file):
    packer = zstandard.ZstdCompressor(level=1).compressobj()
    block = bytes(1 << 24)
    with file.open("wb") as opened:
        opened.write(packer.compress(b"MRS\x01\x01" + bytes(16)))
        for _ in range(BOMB // len(block)):
            opened.write(packer.compress(block))
        opened.write(packer.flush())


def laughs(file):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    file.write_text("\n".join([*lines, "payload: *a11", "proxies: *a11"]), encoding="utf-8")


def deep(file):
    file.write_text("payload: " + "[" * 200_000, encoding="utf-8")


def binary(file):
    file.write_bytes(os.urandom(300_000))


LEFT_OUT = {
    "huge rules": (huge, rule_file("hostile")),
    "huge text": (huge, rule_file("hostile", "text")),
    "huge proxies": (huge, proxy_file("hostile")),
    "a bomb": (bomb, rule_file("hostile", "mrs")),
    "laughs as rules": (laughs, rule_file("hostile")),
    "laughs as proxies": (laughs, proxy_file("hostile")),
    "deep rules": (deep, rule_file("hostile")),
    "deep proxies": (deep, proxy_file("hostile")),
    "a pipe of rules": (os.mkfifo, rule_file("hostile")),
    "a pipe of proxies": (os.mkfifo, proxy_file("hostile")),
    "a directory": (os.mkdir, rule_file("hostile")),
    "noise": (binary, rule_file("hostile", "mrs")),
    "noise as proxies": (binary, proxy_file("hostile")),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_left_out(stage, case):
    make, config = LEFT_OUT[case]
    file = stage.gateway.home / "hostile"
    make(file)
    try:
        seen = len(stage.gateway.output)
        stage.gateway.reload(config)
        said = stage.gateway.output[seen:]
        assert "-providers.P: " in said
        assert "Traceback" not in said
        assert stage.carrier() == DIRECT
    finally:
        file.rmdir() if file.is_dir() else file.unlink()
