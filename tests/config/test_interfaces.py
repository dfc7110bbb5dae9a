"""Interface names and globs."""

from __future__ import annotations

import pytest

from mihomo_tproxy.config.interfaces import check_interface


@pytest.mark.parametrize("name", ["eth0", "br-lan", "eth0.100", "a" * 15, "wg+x"])
def test_names(name: str) -> None:
    assert check_interface(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "a/b",
        "a b",
        "a\tb",
        "a:b",
        "a\0",
        "a" * 16,
        "ü" * 8,
    ],
)
@pytest.mark.parametrize("glob", [False, True])
def test_refused(name: str, glob: bool) -> None:
    with pytest.raises(ValueError, match="not an interface name"):
        check_interface(name, glob=glob)


def test_a_glob_may_be_longer_than_a_name() -> None:
    assert check_interface("a-long-prefix-[0-9]*", glob=True) == "a-long-prefix-[0-9]*"
    with pytest.raises(ValueError, match="longer than 15"):
        check_interface("a-long-prefix-[0-9]*")
