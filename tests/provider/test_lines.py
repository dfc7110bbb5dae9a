"""Lines of rule providers. What mihomo does was observed with 1.19.32 (`convert-ruleset`)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis.strategies import from_regex, lists, sampled_from, text

from mihomo_tproxy.provider import lines
from mihomo_tproxy.provider.lines import Lines, item_of, text_lines, yaml_lines


def test_text() -> None:
    data = b"\xef\xbb\xbf# comment\r\n a.example \r\n\r\n//comment\n\tb.example\n #c\nd # e"
    assert text_lines(data) == Lines(["a.example", "b.example", "d # e"])


def test_text_that_is_too_long() -> None:
    data = b"a" * lines.MAX_LINE + b"\n" + b"b" * (lines.MAX_LINE + 1)
    assert text_lines(data) == Lines(["a" * lines.MAX_LINE], 1)


@pytest.mark.parametrize(
    ("body", "rules", "skipped"),
    [
        ("payload:\n  - a\n  - 'b'\n  - \"c\"\n- d\n    - e\n", "a b c d e", 0),
        ("payload:\n- a\n- b # x\n-  c   \n- d#x\n- 'e' # x\n", "a b c d#x e", 0),
        ("rules:\n  - a\n", "a", 0),
        ("x: 1\npayload:\n  - a\n", "a", 0),
        ("# c\npayload:\n  # c\n\n  - a\ny: 2\n", "a", 1),
        ("payload:\n  - a: 2\n  - b\n", "b", 1),
        (
            "payload:\n  - 5\n  - true\n  - null\n  - ~\n  -\n  - 1.5\n  - 0x10\n",
            "5 true 1.5 0x10",
            0,
        ),
        ('payload:\n  - a\n  - {a\n  - *x\n  - b\n  - "c"d\n  - e\n', "a b e", 3),
        ("payload:\n  - [a]\n  - [a, b]\n", "", 2),
        ("payload:\n  - !!str a\n  - &a b\n", "a b", 0),
        ("payload:\r\n  - a\r\n  - 'b'\r\n", "a b", 0),
        ("\ufeffpayload:\n  - a\n", "a", 0),
        ("payload:\n\t- a\n", "", 1),
        ("payload:\n  - >\n    a\n  - b\n", "b", 1),
        ("payload:\n  - \"a\\x41\"\n  - 'it''s'\n", "aA it's", 0),
        ("payload:\n  - a\nrules:\n  - b\n", "a b", 1),
        ("payload:\n", "", 0),
        ("---\npayload:\n  - a\n...\n- b\n", "a b", 1),
        ("payload:   # hello\n  - a\n", "a", 0),
        ('"payload":\n  - a\n', "a", 0),
        ("  payload:\n  - a\n- b\n    - c\n", "a c", 1),
        ("payload: &x\n- a\n", "a", 0),
        (
            "payload:\n- --\n- ---\n- :x\n- ?x\n- a:b\n- a]\n- a{b\n- ,a\n",
            "-- --- :x ?x a:b a] a{b",
            1,
        ),
        ("payload:\n- a\rb\n- c\x01d\n- e\n", "e", 2),
        ("payload:\n- 'null'\n- '~'\n- \"\"\n- Null\n", "null ~", 0),
        ("payload:\n- 日本.jp\n- a # 日本\n", "日本.jp a", 0),
    ],
)
def test_yaml_is_read_line_by_line(body: str, rules: str, skipped: int) -> None:
    assert yaml_lines(body.encode()) == Lines(rules.split(), skipped)


@pytest.mark.parametrize(
    "body", ["", "a\nb\n", "payload: [a, b]\n", "Payload:\n- a\n", "# payload:\n- a", "\xff\x00"]
)
def test_no_list(body: str) -> None:
    with pytest.raises(ValueError, match="no list `payload`"):
        yaml_lines(body.encode("latin-1"))


def test_bytes_that_are_no_text() -> None:
    assert yaml_lines(b"payload:\n- \xff\n- e\n") == Lines(["\ufffd", "e"])


ODD = from_regex(
    r"[ ]{0,3}-[ ]{1,2}['\"]?[-a:#,'\"\\ \]\[{}!&*?|>%@`~.\t\r\xa0]{0,8}", fullmatch=True
)


@given(
    lists(ODD | text(max_size=12).map(lambda rest: f"- {rest}"), max_size=4), sampled_from([0, 1])
)
@settings(max_examples=400, deadline=None)
def test_the_fast_path_finds_what_yaml_finds(items: list[str], indent: int) -> None:
    head = " " * indent + "payload:"
    items = [part for item in items for part in item.split("\n")]
    body = "\n".join([head, *items]).encode("utf-8", "replace")
    slow = [item_of(head, item) for item in body.decode().split("\n")[1:]]
    assert yaml_lines(body).rules == [item for item in slow if item]


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    cost = len("payload:") + len("- {") + lines.ODD_LINE
    monkeypatch.setattr(lines, "MAX_ODD", 3 * cost)
    assert yaml_lines(b"payload:\n" + b"- {\n" * 3) == Lines([], 3)
    with pytest.raises(ValueError, match="uncommon notation"):
        yaml_lines(b"payload:\n" + b"- {\n" * 4)
    with pytest.raises(ValueError, match="uncommon notation"):
        yaml_lines(b"a payload\n" * 4)
    monkeypatch.setattr(lines, "MAX_LINES", 3)
    assert text_lines(b"a\na\na").rules == ["a"] * 3
    with pytest.raises(ValueError, match="more than 3 lines"):
        text_lines(b"a\na\na\na")


def test_a_line_of_yaml_that_is_too_long() -> None:
    data = b"payload:\n- " + b"a" * lines.MAX_LINE + b"\n- b"
    assert yaml_lines(data) == Lines(["b"], 1)
