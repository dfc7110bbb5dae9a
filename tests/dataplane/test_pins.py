"""Pins as files: removing them, and what is said when they are not there."""

from __future__ import annotations

import pytest

from mihomo_tproxy.dataplane.pins import check_bpffs, open_program, unpin
from mihomo_tproxy.errors import BpfUnavailable


def test_a_directory_is_removed_with_what_it_holds(tmp_path):
    pins = tmp_path / "pins"
    pins.mkdir()
    (pins / "map").touch()
    unpin(str(pins))
    assert not pins.exists()


def test_nothing_to_remove_is_fine(tmp_path):
    unpin(str(tmp_path / "none"))
    assert list(tmp_path.iterdir()) == []


def test_an_ordinary_directory_is_no_bpffs(tmp_path):
    with pytest.raises(BpfUnavailable, match=f"mount -t bpf bpf {tmp_path}"):
        check_bpffs(str(tmp_path))


def test_a_program_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BpfUnavailable, match=r"cannot open .*/lan_ingress"):
        open_program(str(tmp_path), "lan_ingress")
