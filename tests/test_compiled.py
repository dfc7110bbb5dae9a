"""What a reload may change, and what it must keep."""

from __future__ import annotations

import pickle

import pytest

from mihomo_tproxy.config import parse
from mihomo_tproxy.config.compiling import compile_config


def compiled(text):
    return compile_config(parse(text))


@pytest.mark.parametrize(
    "change",
    [
        "gateway: {workers: 2}",
        "gateway: {local: true}",
    ],
)
def test_processes_are_fixed(change):
    old = compiled("mode: rule")
    new = compiled(change)
    kept = new.keep_fixed(old)
    assert kept != new
    assert (kept.plan.workers, kept.plan.local) == (1, False)


@pytest.mark.parametrize(
    "change",
    [
        "rules: ['MATCH,REJECT']",
        "gateway: {on-failure: closed}",
        "{allow-lan: true}",
        "mixed-port: 7890",
    ],
)
def test_rules_and_flags_are_not(change):
    new = compiled(change)
    assert new.keep_fixed(compiled("mode: rule")) == new


def test_local_steering_ends_with_a_reload():
    old = compiled("gateway: {local: true}")
    assert not compiled("mode: rule").keep_fixed(old).plan.local
    assert old.keep_fixed(old).plan.local


def test_keep_fixed_takes_the_rest_from_the_new_one():
    old = compiled("gateway: {workers: 2}")
    new = compiled("rules: ['MATCH,REJECT']\ngateway: {on-failure: closed, local: true}")
    kept = new.keep_fixed(old)
    assert (kept.plan.workers, kept.plan.local) == (2, False)
    assert kept.plan.closed
    assert kept.rules == 1


def test_it_travels_between_processes():
    value = compiled("rules: ['DST-PORT,25,REJECT', 'MATCH,DIRECT']")
    assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301 (ours)
