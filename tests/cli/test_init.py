"""The command line: which handler, which exit code, and no traceback."""

from __future__ import annotations

import pytest

from mihomo_tproxy import __version__, cli
from mihomo_tproxy.errors import ConfigError, DataplaneError, Problem


@pytest.fixture
def called(monkeypatch):
    """The handlers, replaced by a note of who was called with what."""
    calls = []

    def note(name):
        def handler(args):
            calls.append((name, args))
            return 0

        return handler

    for name in ("run", "check", "doctor", "status", "cleanup", "demo"):
        monkeypatch.setattr(cli, f"_{name}", note(name))
    return calls


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ([], "run"),
        (["-f", "x.yaml", "-d", "home"], "run"),
        (["run", "-f", "x.yaml", "-d", "home"], "run"),
        (["check", "-f", "x.yaml"], "check"),
        (["-t", "-f", "x.yaml"], "check"),
        (["doctor"], "doctor"),
        (["status", "-w"], "status"),
        (["cleanup"], "cleanup"),
        (["demo", "--once"], "demo"),
    ],
)
def test_commands_find_their_handlers(called, arguments, name):
    assert cli.main(arguments) == 0
    assert called[0][0] == name


def test_files_are_where_mihomo_has_them(called):
    for arguments in (["-f", "x", "-d", "y"], ["run", "-f", "x", "-d", "y"]):
        cli.main(arguments)
        assert (called[-1][1].file, called[-1][1].directory) == ("x", "y")


@pytest.mark.parametrize("command", ["run", "check"])
def test_files_before_the_command_count(called, command):
    assert cli.main(["-d", "home", command, "-f", "x"]) == 0
    assert (called[0][1].file, called[0][1].directory) == ("x", "home")


@pytest.mark.parametrize("arguments", [["-f", "x", "-f", "y"], ["run", "-fy"]])
def test_what_is_not_plain_is_read_by_argparse(called, arguments):
    cli.main(arguments)
    assert called[0][1].file == "y"


@pytest.mark.parametrize("arguments", [["sideways"], ["run", "--fast"], ["run", "-f"], ["rig"]])
def test_bad_usage_is_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert "usage: mihomo-tproxy" in capsys.readouterr().err


def test_version(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["-v"])
    assert ended.value.code == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (DataplaneError("no mark is free"), 3, "mihomo-tproxy: no mark is free\n"),
        (ConfigError([Problem("mode", "odd", 4)]), 2, "mihomo-tproxy: line 4: mode: odd\n"),
        (
            ConfigError([Problem("mode", "odd", 4), Problem("", "empty")]),
            2,
            "mihomo-tproxy: the configuration has 2 errors:\n  line 4: mode: odd\n  empty\n",
        ),
        (PermissionError(13, "Permission denied", "/x"), 1, "Permission denied: '/x'\n"),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 1, ""),
    ],
)
def test_errors_are_sentences_and_codes(monkeypatch, capsys, error, code, text):
    def fail(_args):
        raise error

    monkeypatch.setattr(cli, "_status", fail)
    assert cli.main(["status"]) == code
    assert capsys.readouterr().err.endswith(text)
