"""Which file `-f` and `-d` mean."""

from __future__ import annotations

import pytest

from mihomo_tproxy.cli.files import config_path
from mihomo_tproxy.errors import ConfigError


def path(file=None, directory=None):
    return config_path(file, directory)


def test_a_file_is_itself(tmp_path):
    file = tmp_path / "x.yaml"
    file.touch()
    assert path(str(file)) == str(file)


def test_a_directory_has_a_config_yaml(tmp_path):
    (tmp_path / "config.yaml").touch()
    assert path(directory=str(tmp_path)) == str(tmp_path / "config.yaml")


def test_a_relative_file_is_looked_for_in_the_directory(tmp_path, monkeypatch):
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    (home / "x.yaml").touch()
    monkeypatch.chdir(here)
    assert path("x.yaml", str(home)) == str(home / "x.yaml")
    (here / "x.yaml").touch()
    assert path("x.yaml", str(home)) == str(here / "x.yaml")


@pytest.mark.parametrize(
    ("file", "directory", "text"),
    [
        ("nope.yaml", None, "there is no configuration file nope.yaml"),
        (None, "nowhere", "there is no configuration file nowhere/config.yaml"),
        (".", None, ". is a directory; name the file in it, or use -d"),
    ],
)
def test_what_is_not_there_is_said(tmp_path, monkeypatch, file, directory, text):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        path(file, directory)
    assert str(caught.value) == text
