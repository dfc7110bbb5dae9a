"""YAML 1.2: the core schema, lines, and the limits for files of strangers."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml as pyyaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mihomo_tproxy.config import yaml
from mihomo_tproxy.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def problems(text: str) -> list[str]:
    """Everything said about a text, wherever it is found."""
    try:
        return [str(problem) for problem in yaml.load_text(text).problems]
    except ConfigError as error:
        return [str(problem) for problem in error.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("NO", "NO"),
        ("y", "y"),
        ("12:30", "12:30"),
        ("12:30:45", "12:30:45"),
        ("2001-01-01", "2001-01-01"),
        ("true", True),
        ("False", False),
        ("TRUE", True),
        ("tRUE", "tRUE"),
        ("null", None),
        ("~", None),
        ("", None),
        ("Null", None),
        ("0", 0),
        ("-7", -7),
        ("+7", 7),
        ("0777", 777),
        ("0o17", 15),
        ("0x1F", 31),
        ("-0x1F", "-0x1F"),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("1e3", 1000.0),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("1.2.3.4", "1.2.3.4"),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("inf", "inf"),
        ("nan", "nan"),
        ("'443'", "443"),
        ('"true"', "true"),
        ("!!str 443", "443"),
        ("!!int '443'", 443),
        ("!!float 1", 1.0),
        ("! 443", "443"),
        ("=", "="),
        ("<<", "<<"),
        ("٣", "٣"),
        ("9" * 65, "9" * 65),
        ("[a, 1]", ["a", 1]),
        ("{a: {b: c}}", {"a": {"b": "c"}}),
        ("|\n  a\n  b", "a\nb"),
    ],
)
def test_core_schema(text: str, value: object) -> None:
    found = yaml.load_text(f"k: {text}\n").value
    expected = value + "\n" if text.startswith("|") and isinstance(value, str) else value
    assert found == {"k": expected}
    assert type(found["k"]) is type(expected)


def test_nan() -> None:
    (found,) = yaml.load_text("[.nan]").value
    assert math.isnan(found)


def test_keys_are_text() -> None:
    assert yaml.load_text("{1: a, true: b, ~: c}").value == {"1": "a", "true": "b", "~": "c"}


def test_lines() -> None:
    document = yaml.load_text("a: 1\nb:\n  - x\n  - y: {z: 1,\n       w: 2}\nc: |\n  long\n")
    places = {path: document.line(path) for path in ("a", "b", "b[0]", "b[1].y.w", "c")}
    assert places == {"a": 1, "b": 2, "b[0]": 3, "b[1].y.w": 5, "c": 6}
    assert document.line("b[1].y.q.r[3]") == 4
    assert document.line("nowhere") == 1
    assert yaml.load_text("").line("x") is None


def test_merge_keys() -> None:
    text = "a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\n"
    value = yaml.load_text(text + "c: {<<: [*a, *b], x: 9}\nd:\n  y: 5\n  <<: *a\n").value
    assert value["c"] == {"x": 9, "y": 2, "z": 4}
    assert value["d"] == {"x": 1, "y": 5}
    assert yaml.load_text("{'<<': 1}").value == {"<<": 1}


def test_aliases() -> None:
    text = "a: &x [1]\nb: *x\nc: &k key\n*k : v\n"
    assert yaml.load_text(text).value == {"a": [1], "b": [1], "c": "key", "key": "v"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: a: given twice, first on line 1"),
        ("x:\n  a: 1\n  a: {b: 1}\n", "line 3: x.a: given twice, first on line 2"),
        ("a: 1\n'a': 2\n", "line 2: a: given twice, first on line 1"),
        ("{<<: {a: 1}, <<: {b: 1}}", "line 1: <<: given twice, first on line 1"),
        ("a: [1\nb: 2", "not YAML"),
        ("a: 'x\n", "not YAML"),
        ("\ta: 1", "line 1: not YAML"),
        ("a: b: c", "line 1: not YAML: mapping values are not allowed in this context"),
        ("a\x07b", "not YAML"),
        ("ok: 1\nb: \ud800", "line 2: not YAML: the text holds a lone surrogate"),
        ("a: *b", "line 1: a: alias 'b' has no anchor before it"),
        ("a: &a [*a]", "line 1: anchor 'a' contains itself"),
        ("a: &a {b: *a}", "line 1: anchor 'a' contains itself"),
        ("? [a]\n: b", "line 1: a mapping key must be a scalar"),
        ("a: &a [1]\n*a : b", "line 2: a mapping key must be a scalar"),
        ("a:\n  <<: 5", "line 2: a: '<<' takes a mapping, or a list of them"),
        ("a: !!binary aGk=", "line 1: a: tag 'binary' does not fit 'aGk='"),
        ("a: !!int x", "line 1: a: tag 'int' does not fit 'x'"),
        ("a: !custom {}", "line 1: a: unknown tag '!custom'"),
        ("a: !!python/object:os.system []", "unknown tag 'python/object:os.system'"),
        ("a: 1\n---\nb: 2\n", "line 2: a second document begins here, one is expected"),
        ("[" * 100_000, "nested deeper than 64 levels"),
        ("- " * 5000 + "x", "nested deeper than 64 levels"),
    ],
)
def test_refused(text: str, says: str) -> None:
    (found,) = problems(text)
    assert says in found


def test_every_structural_problem_is_found() -> None:
    found = problems("a: 1\na: 2\nb: *x\nc: !u 1\n")
    assert len(found) == 3


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)


def test_alias_bomb() -> None:
    (found,) = problems(BOMB)
    assert "aliases stand for more than 2000000 values" in found


def test_merge_bomb() -> None:
    wide = "a: &a {" + ", ".join(f"k{n}: 1" for n in range(1000)) + "}\n"
    (found,) = problems(wide + "b:\n" + "  - <<: *a\n" * 3000)
    assert "aliases stand for more than" in found


def test_file(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"\xef\xbb\xbfmode: rule\n")
    assert yaml.load_file(path).value == {"mode": "rule"}
    path.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(ConfigError, match=r"^line 2: the file is not UTF-8$"):
        yaml.load_file(path)
    with pytest.raises(ConfigError, match=r"cannot read .*absent: No such file"):
        yaml.load_file(tmp_path / "absent")
    with pytest.raises(ConfigError, match=r"cannot read .*: Is a directory"):
        yaml.load_file(tmp_path)


def test_file_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml, "MAX_BYTES", 1 << 20)
    path = tmp_path / "config.yaml"
    path.write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        yaml.load_file(path)
    assert problems("#" * ((1 << 20) + 1)) == ["the file is larger than 1 MiB"]


def test_long_paths_cost_no_more_than_short_ones() -> None:
    """Each of the items is under a key of many characters: so would its path be."""
    document = yaml.load_text(f"? {'k' * 100_000}\n: [{'x,' * 20_000}]\nz: 1\n")
    assert sum(map(len, document.lines)) < 1_000_000
    assert document.line("z") == 3
    assert document.line(f"{'k.' * 1_000_000}[7]") == 1


def test_the_paths_of_a_file_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml, "MAX_PATHS", 10)
    document = yaml.load_text("a:\n  - b: 1\n    c: 2\n")
    assert document.lines == {"": 1, "a": 1, "a[0]": 2}
    assert document.line("a[0].c") == 2


def test_the_values_of_a_file_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml, "MAX_VALUES", 4)
    assert problems("[a,\nb,\nc]") == []
    assert problems("[a,\nb,\nc,\nd]") == ["line 4: more than 4 values"]


def test_a_file_full_of_problems_is_not_read_to_its_end() -> None:
    found = problems("a: 1\n" * 1000)
    assert len(found) == yaml.MAX_PROBLEMS + 1
    assert found[-1] == f"line {yaml.MAX_PROBLEMS + 2}: a: given twice, first on line 1"


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.text(st.sampled_from("ab: -[]{}&*!|>'\"\n#,?%<~\t1"), max_size=40))
def test_nothing_but_config_errors_escapes(text: str) -> None:
    problems(text)


SCALARS = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=8)
TREES = st.recursive(
    SCALARS, lambda c: st.lists(c, max_size=4) | st.dictionaries(st.text(max_size=5), c, max_size=4)
)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(TREES)
def test_reads_what_pyyaml_writes(tree: object) -> None:
    document = yaml.load_text(pyyaml.safe_dump(tree, default_style='"', allow_unicode=False))
    assert document.problems == []
    assert document.value == tree


def test_long_lived_processes_do_not_import_it() -> None:
    code = (
        "import sys, mihomo_tproxy.config.schema, mihomo_tproxy.rule.engine, "
        "mihomo_tproxy.rule.static, mihomo_tproxy.rule.registry\n"
        "sys.exit(any(name in sys.modules for name in ('yaml', 'msgspec', 'difflib')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
