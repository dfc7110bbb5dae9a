"""`provider`: what providers brought, from the files that there are."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from support.playing import Gateway

from mihomo_tproxy import cli
from mihomo_tproxy.cli import provider
from mihomo_tproxy.config import load
from mihomo_tproxy.keeper.store import SourceState, save_source

TEXT = """
proxy-providers:
  sub: {type: http, url: 'http://a.test/sub', path: sub.yaml, interval: 3600}
  late: {type: http, url: 'http://a.test/late', path: late.yaml}
rule-providers:
  ads: {type: http, behavior: domain, format: text, url: 'http://a.test/ads', path: ads.txt,
        interval: 86400}
  mine: {type: inline, behavior: classical, payload: ['DST-PORT,25', 'DST-PORT,26']}
rules: ['RULE-SET,ads,REJECT', 'RULE-SET,mine,REJECT', 'MATCH,DIRECT']
"""
NOW = 1_700_000_000


@pytest.fixture
def config(tmp_path, monkeypatch):
    path = tmp_path / "config.yaml"
    path.write_text(TEXT)
    (tmp_path / "sub.yaml").write_text("proxies: [{name: a, type: direct}]")
    (tmp_path / "ads.txt").write_text("a.test\nb.test\nc.test\n")
    os.utime(tmp_path / "sub.yaml", (NOW, NOW))
    os.utime(tmp_path / "ads.txt", (NOW - 90000, NOW - 90000))
    info = "upload=1048576; download=2097152; total=1073741824; expire=1893456000"
    save_source(str(tmp_path), "proxy provider sub", SourceState(userinfo=info))
    monkeypatch.setattr(provider, "running_config", lambda: load(str(path)))
    monkeypatch.setattr(provider.time, "time", lambda: NOW + 60)
    return path


def test_the_list(config, capsys):
    assert cli.main(["provider"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["kind", "name", "type", "entries", "size", "updated", "next", "used"],
        ["rule", "ads", "http", "3", "21", "B", "1", "d", "ago", "now", "-"],
        ["rule", "mine", "inline", "2", "-", "-", "-", "-"],
        ["proxy", "sub", "http", "1", "34", "B", "1", "min", "ago", "in", "59", "min", "3.0", "MiB",
         "of", "1.0", "GiB,", "until", "2030-01-01"],
        ["proxy", "late", "http", "0", "absent", "-", "-", "-"],
    ]  # fmt: skip


def test_the_list_for_programs(config, capsys):
    cli.main(["provider", "--json"])
    found = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert found["sub"]["next"] == NOW + 3600
    assert found["sub"]["subscription"]["total"] == 1 << 30
    assert found["late"]["updated"] is None


def test_one(config, capsys):
    assert cli.main(["provider", "sub"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("sub, proxy provider of type http\n")
    assert "http://a.test/sub" in out
    assert str(config.parent / "sub.yaml") in out


def test_geo_files_are_listed_where_rules_need_them(config, capsys):
    config.write_text("rules: ['GEOIP,CN,DIRECT']")
    cli.main(["provider"])
    (line,) = capsys.readouterr().out.splitlines()[1:]
    assert line.split()[:5] == ["geo", "mmdb", "http", "-", "absent"]


def test_nothing_to_list(config, capsys):
    config.write_text("mode: rule")
    cli.main(["provider"])
    assert capsys.readouterr().out == "no providers, and no rule needs a geo file\n"


def test_updating(config, monkeypatch, capsys):
    gateway = Gateway(monkeypatch)
    gateway.answers["update"] = {"changed": True}
    assert cli.main(["provider", "sub", "--update"]) == 0
    assert capsys.readouterr().out == "sub: downloaded\n"
    assert gateway.asked == [{"command": "update", "name": "sub"}]
    gateway.answers["update"] = {"changed": False}
    cli.main(["provider", "sub", "--update"])
    assert capsys.readouterr().out == "sub: has not changed\n"
    cli.main(["provider", "sub", "--update", "--json"])
    assert json.loads(capsys.readouterr().out) == {"name": "sub", "changed": False}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["provider", "sbu"], "there is no provider 'sbu', did you mean 'sub'?"),
        (["provider", "--update"], "--update goes with a NAME"),
        (["provider", "mine", "--update"], "'mine' is not downloaded: its type is inline"),
    ],
)
def test_what_cannot_be_asked(config, capsys, arguments, says):
    assert cli.main(arguments) == 1
    assert capsys.readouterr().err == f"mihomo-tproxy: {says}\n"


def test_a_store_that_cannot_be_read_says_nothing(config, capsys):
    store = config.parent / "mihomo-tproxy.db"
    store.unlink()
    store.mkdir()
    assert cli.main(["provider", "sub"]) == 0
    assert "used" not in capsys.readouterr().out
    shutil.rmtree(store)


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0 s"), (59.9, "59 s"), (3600, "1 h"), (200000, "2 d")]
)
def test_spans(seconds, text):
    assert provider.span_text(seconds) == text
