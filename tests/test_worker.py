"""The worker's room for descriptors."""

from __future__ import annotations

import resource

import pytest

from mihomo_tproxy.worker import raise_descriptor_limit


class Limits:
    """A process's limits, and what the kernel lets it do with them."""

    def __init__(self, soft, hard, *, may_raise):
        self.now = (soft, hard)
        self.may_raise = may_raise

    def get(self, _kind):
        return self.now

    def set(self, _kind, wanted):
        hard = self.now[1]
        higher = hard != resource.RLIM_INFINITY and wanted[1] > hard
        if wanted[0] > wanted[1] >= 0 or (higher and not self.may_raise):
            raise ValueError("not allowed to raise maximum limit")
        self.now = wanted


@pytest.mark.parametrize(
    ("soft", "hard", "may_raise", "granted", "after"),
    [
        (1024, 524_288, False, 100_000, (100_000, 524_288)),
        (1024, 20_000, True, 100_000, (100_000, 100_000)),
        (1024, 20_000, False, 20_000, (20_000, 20_000)),
        (1024, resource.RLIM_INFINITY, False, 100_000, (100_000, resource.RLIM_INFINITY)),
    ],
)
def test_descriptors_up_to_the_hard_limit_and_beyond_where_allowed(
    monkeypatch, soft, hard, may_raise, granted, after
):
    limits = Limits(soft, hard, may_raise=may_raise)
    monkeypatch.setattr(resource, "getrlimit", limits.get)
    monkeypatch.setattr(resource, "setrlimit", limits.set)
    assert raise_descriptor_limit(100_000) == granted
    assert limits.now == after


def test_a_higher_soft_limit_stays(monkeypatch):
    limits = Limits(300_000, 524_288, may_raise=False)
    monkeypatch.setattr(resource, "getrlimit", limits.get)
    monkeypatch.setattr(resource, "setrlimit", limits.set)
    assert raise_descriptor_limit(100_000) == 300_000
    assert limits.now == (300_000, 524_288)
