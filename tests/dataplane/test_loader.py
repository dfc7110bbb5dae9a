"""The loader's work before bcc: one text from many files, one tree from two."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from mihomo_tproxy.dataplane import loader, loading


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_quoted_includes_are_inlined_and_others_left(tmp_path: Path) -> None:
    write(tmp_path / "main.c", '#include <linux/bpf.h>\n#include "a.h"\nint x;\n')
    write(tmp_path / "a.h", '#include "b_c.h"\nint a;\n')
    write(tmp_path / "b_c.h", "int b;\n")
    assert loader.read_source(str(tmp_path), "main.c") == (
        '#include <linux/bpf.h>\n#line 1 "a.h"\n#line 1 "b_c.h"\nint b;\n\nint a;\n\nint x;\n'
    )


def test_a_missing_include_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "main.c", '#include "gone.h"\n')
    with pytest.raises(FileNotFoundError, match=r"gone\.h"):
        loader.read_source(str(tmp_path), "main.c")


def test_the_programs_and_maps_are_all_in_the_real_source() -> None:
    source = loader.read_source(str(loading.source_dir()))
    assert '#include "' not in source
    for program in loader.PROGRAMS:
        assert f"int {program}(" in source
    for name in loader.MAPS:
        assert f", {name}, " in source or f" {name} = {{" in source


def test_later_trees_win_and_directories_merge(tmp_path: Path) -> None:
    write(tmp_path / "common/include/linux/only_common.h", "common")
    write(tmp_path / "common/include/linux/both.h", "common")
    write(tmp_path / "common/Makefile", "common")
    write(tmp_path / "arch/include/linux/both.h", "arch")
    write(tmp_path / "arch/include/generated/autoconf.h", "arch")
    write(tmp_path / "arch/Makefile", "arch")
    target = tmp_path / "merged"
    target.mkdir()
    loader.link_tree(str(target), [str(tmp_path / "common"), str(tmp_path / "arch")])
    merged = {
        str(path.relative_to(target)): path.read_text(encoding="utf-8")
        for path in map(Path, _files(str(target)))
    }
    assert merged == {
        "Makefile": "arch",
        "include/generated/autoconf.h": "arch",
        "include/linux/both.h": "arch",
        "include/linux/only_common.h": "common",
    }
    assert (tmp_path / "common/include/linux/both.h").read_text(encoding="utf-8") == "common"


def _files(top: str) -> list[str]:
    walk = os.walk(top, followlinks=True)
    return [os.path.join(folder, name) for folder, _, names in walk for name in names]


def test_without_bcc_the_report_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "gateway.c", "int x;\n")
    monkeypatch.setitem(sys.modules, "bcc", None)
    assert loader.main([str(tmp_path), str(tmp_path / "pins")]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["ok"], report["stage"]) == (False, "bcc")
    assert not (tmp_path / "pins").exists()


def test_what_is_needed_below_mnt_is_not_hidden():
    assert loader.private_directory(["/mnt/disk/bpf", "/sys/fs/bpf/x"]) is None
