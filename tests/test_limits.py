"""Room for open files, up to the hard limit and beyond where that is allowed."""

from __future__ import annotations

import resource

import pytest

from mihomo_tproxy.limits import raise_open_files


class Limits:
    """A process's limits, and what the kernel lets it do with them."""

    def __init__(self, soft, hard, *, may_raise):
        self.now = (soft, hard)
        self.may_raise = may_raise

    def get(self, _kind):
        return self.now

    def set(self, _kind, wanted):
        if wanted[0] > wanted[1] or (wanted[1] > self.now[1] and not self.may_raise):
            raise ValueError("not allowed to raise maximum limit")
        self.now = wanted


@pytest.mark.parametrize(
    ("soft", "hard", "may_raise", "after"),
    [
        (1024, 524_288, False, (524_288, 524_288)),
        (524_288, 524_288, False, (524_288, 524_288)),
        (1024, 20_000, True, (100_000, 100_000)),
        (1024, 20_000, False, (20_000, 20_000)),
        (20_000, 20_000, False, (20_000, 20_000)),
    ],
)
def test_as_many_as_the_system_allows(monkeypatch, soft, hard, may_raise, after):
    limits = Limits(soft, hard, may_raise=may_raise)
    monkeypatch.setattr(resource, "getrlimit", limits.get)
    monkeypatch.setattr(resource, "setrlimit", limits.set)
    assert raise_open_files(100_000) == after[0]
    assert limits.now == after
