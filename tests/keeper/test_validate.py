"""Validation in a process of its own: what it says, and what it survives."""

from __future__ import annotations

import pickle

import pytest

from mihomo_tproxy.config.specs.provider import Behavior, Format
from mihomo_tproxy.keeper import validate as module
from mihomo_tproxy.keeper.validate import Job, validate, validate_apart
from mihomo_tproxy.provider.proxy_content import Parsing


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "file"
        path.write_bytes(content)
        return str(path)

    return write


def rules(path, behavior=Behavior.DOMAIN, form=Format.TEXT):
    return Job("rule", path, (behavior, form))


async def test_rules(file):
    assert await validate_apart(rules(file(b"a.test\n+.b.test\n"))) == 2


@pytest.mark.parametrize(
    ("content", "form"),
    [(b"", Format.TEXT), (b"<html>\xff", Format.MRS), (b"payload: {", Format.YAML)],
)
async def test_rules_of_no_use(file, content, form):
    with pytest.raises(ValueError, match=r"\w"):
        await validate_apart(rules(file(content), form=form))


async def test_geo(file):
    for kind in ("geoip", "geosite", "mmdb", "asn"):
        with pytest.raises(ValueError, match=r"\w"):
            await validate_apart(Job("geo", file(b"garbage" * 100), (kind,)))


async def test_proxies(file):
    good = b"proxies: [{name: a, type: socks5, server: a.test, port: 1}]"
    assert await validate_apart(Job("proxy", file(good), (pickle.dumps(Parsing()),))) == 1
    with pytest.raises(ValueError, match=r"\w"):
        await validate_apart(Job("proxy", file(b"<html>"), (pickle.dumps(Parsing()),)))


async def test_no_file(tmp_path):
    with pytest.raises(ValueError, match="No such file"):
        await validate_apart(rules(str(tmp_path / "none")))


async def test_too_long(file, monkeypatch):
    monkeypatch.setattr(module, "WALL_S", 0.01)
    with pytest.raises(ValueError, match="more than"):
        await validate_apart(rules(file(b"a.test")))


async def test_dies(file, monkeypatch):
    """Whatever ends it without an answer."""
    monkeypatch.setattr(module.sys, "executable", "/bin/true")
    with pytest.raises(ValueError, match="too much"):
        await validate_apart(rules(file(b"a.test")))


def test_here(file):
    assert validate(rules(file(b"1.2.3.0/24\n"), Behavior.IPCIDR)) == 1
    with pytest.raises(ValueError, match="no rule"):
        validate(rules(file(b"# only words\n")))
