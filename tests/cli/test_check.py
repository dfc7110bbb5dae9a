"""`check`: the outcome in mihomo's words, warnings, problems."""

from __future__ import annotations

from mihomo_tproxy import cli


def run(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return cli.main(["check", "-f", str(path)])


def test_a_good_file(tmp_path, capsys):
    assert run(tmp_path, "rules: ['DST-PORT,25,REJECT', 'MATCH,DIRECT']\n") == 0
    out = capsys.readouterr().out
    assert out.endswith("config.yaml test is successful: 2 rules\n")
    assert "warning" not in out


def test_warnings_do_not_fail(tmp_path, capsys):
    assert run(tmp_path, "dns: {}\ngatewy: {}\n") == 0
    out = capsys.readouterr().out
    assert "warning: " in out
    assert "dns" in out
    assert "gateway" in out


def test_every_problem_at_once(tmp_path, capsys):
    assert run(tmp_path, "mode: odd\nrules: ['MATCH,NOWHERE']\n") == 2
    err = capsys.readouterr().err
    assert "line 1: mode:" in err
    assert "line 2: rules[0]:" in err
