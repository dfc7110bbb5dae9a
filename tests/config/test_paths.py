"""Paths inside the home directory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from mihomo_tproxy.config.paths import inside_home, read_file

if TYPE_CHECKING:
    from pathlib import Path


def test_relative_and_absolute(tmp_path: Path) -> None:
    home = str(tmp_path)
    assert inside_home(home, "./rules/a.yaml") == f"{home}/rules/a.yaml"
    assert inside_home(home, f"{home}/b") == f"{home}/b"
    assert inside_home(home, "a/../规则 1") == f"{home}/规则 1"
    assert inside_home(home, "~b") == f"{home}/~b"


def test_a_link_within_and_a_home_that_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "home").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "link").symlink_to("file")
    assert inside_home(str(tmp_path / "home"), "link") == str(tmp_path / "real" / "file")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/etc/passwd", "not inside the home directory"),
        ("../other", "not inside the home directory"),
        ("a/../../home2/x", "not inside the home directory"),
        ("~/x", "not inside the home directory"),
        (".", "not inside the home directory"),
        ("./a/..", "not inside the home directory"),
        ("out", "not inside the home directory"),
        ("out/passwd", "not inside the home directory"),
        ("loop/../../x", "not inside the home directory"),
        ("", "not a path"),
        ("a\0b", "not a path"),
        ("a\nb", "not a path"),
        ("a\ud800", "not a path"),
        ("a\u202eb", "not a path"),
    ],
)
def test_outside(tmp_path: Path, path: str, says: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "home2").mkdir()
    (home / "out").symlink_to("/etc")
    (home / "loop").symlink_to("loop")
    with pytest.raises(ValueError, match=says):
        inside_home(str(home), path)


def test_what_is_shown_is_bounded(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a path") as found:
        inside_home(str(tmp_path), "\n" * 100_000)
    assert len(str(found.value)) < 400


def test_reading(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"1234")
    assert read_file(str(path), 4) == b"1234"
    with pytest.raises(ValueError, match="larger than 0 MiB"):
        read_file(str(path), 3)
    with pytest.raises(FileNotFoundError):
        read_file(str(tmp_path / "b"), 4)


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ValueError, match="not a regular file"):
        read_file(str(tmp_path / "fifo"), 4)
    with pytest.raises(ValueError, match="not a regular file"):
        read_file("/dev/zero", 4)
    with pytest.raises(IsADirectoryError):
        read_file(str(tmp_path), 4)
