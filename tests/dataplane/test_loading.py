"""Where the loader's sources and headers come from, over trees made for the purpose."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from mihomo_tproxy.dataplane import loading
from mihomo_tproxy.errors import BpfUnavailable

if TYPE_CHECKING:
    from pathlib import Path

CONFIG, UAPI = "include/generated/autoconf.h", "include/uapi/linux/bpf.h"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file system without headers, as `loading` sees it."""

    def rerooted(path: str) -> Path:
        return tmp_path / path.lstrip("/")

    monkeypatch.setattr(loading, "Path", rerooted)
    monkeypatch.delenv("BCC_KERNEL_SOURCE", raising=False)
    (tmp_path / "usr/src").mkdir(parents=True)
    return tmp_path


def plant(tree: Path, *files: str) -> str:
    for name in files:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()
    return str(tree)


def test_no_headers_is_one_sentence(root: Path) -> None:
    with pytest.raises(BpfUnavailable, match="no kernel headers found"):
        loading.find_headers()


def test_the_users_choice_comes_first(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(root / "usr/src/linux-headers-6.8.0-1-generic", CONFIG, UAPI)
    monkeypatch.setenv("BCC_KERNEL_SOURCE", "/elsewhere")
    assert loading.find_headers() == []


def test_the_running_kernels_own_tree_is_bccs_business(root: Path) -> None:
    plant(root / "usr/src/linux-headers-6.8.0-1-generic", CONFIG, UAPI)
    plant(root / "lib/modules" / os.uname().release / "build", CONFIG, UAPI)
    assert loading.find_headers() == []


def test_half_a_build_tree_does_not_do(root: Path) -> None:
    plant(root / "lib/modules" / os.uname().release / "build", CONFIG)
    with pytest.raises(BpfUnavailable):
        loading.find_headers()


def test_the_kernels_archive_is_bccs_business(root: Path) -> None:
    plant(root, "sys/kernel/kheaders.tar.xz")
    assert loading.find_headers() == []


def test_a_whole_tree_does_alone(root: Path) -> None:
    whole = plant(root / "usr/src/linux-headers-6.8.0-1-generic", CONFIG, UAPI)
    assert loading.find_headers() == [whole]


def test_split_trees_are_merged_common_first(root: Path) -> None:
    common = plant(root / "usr/src/linux-headers-6.1.0-56-common", UAPI)
    half = plant(root / "usr/src/linux-headers-6.1.0-56-amd64", CONFIG)
    plant(root / "usr/src/linux-headers-6.1.0-50-common", UAPI)
    assert loading.find_headers() == [common, half]


def test_halves_of_different_versions_do_not_match(root: Path) -> None:
    plant(root / "usr/src/linux-headers-6.1.0-50-common", UAPI)
    plant(root / "usr/src/linux-headers-6.1.0-56-amd64", CONFIG)
    with pytest.raises(BpfUnavailable):
        loading.find_headers()


def test_sources_of_an_installed_package_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "site/mihomo_tproxy/dataplane/loading.py"
    monkeypatch.setattr(loading, "__file__", str(module))
    with pytest.raises(BpfUnavailable, match="reinstall"):
        loading.source_dir()
    checkout, installed = tmp_path / "site/bpf", tmp_path / "site/mihomo_tproxy/_bpf"
    plant(checkout, "gateway.c")
    assert loading.source_dir() == checkout
    plant(installed, "gateway.c")
    assert loading.source_dir() == installed


def test_the_checkout_has_its_sources() -> None:
    assert (loading.source_dir() / "verdict.h").is_file()
