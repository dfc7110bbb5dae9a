"""What a reload may change, and what it must keep."""

from __future__ import annotations

import pickle

import pytest

from mihomo_tproxy.config import parse
from mihomo_tproxy.config.compiling import compile_config


def compiled(text):
    return compile_config(parse(text))


@pytest.mark.parametrize(
    "change", ["gateway: {workers: 2}", "gateway: {local: true}", "tproxy-port: 7893"]
)
def test_processes_and_listeners_are_fixed(change):
    assert compiled(change).fixed() != compiled("mode: rule").fixed()


@pytest.mark.parametrize("change", ["rules: ['MATCH,REJECT']", "gateway: {on-failure: closed}"])
def test_rules_and_flags_are_not(change):
    assert compiled(change).fixed() == compiled("mode: rule").fixed()


def test_keep_fixed_takes_the_rest_from_the_new_one():
    old = compiled("tproxy-port: 7893\ngateway: {workers: 2}")
    new = compiled("rules: ['MATCH,REJECT']\ngateway: {on-failure: closed, local: true}")
    kept = new.keep_fixed(old)
    assert kept.fixed() == old.fixed()
    assert kept.plan.closed
    assert kept.rules == 1


def test_it_travels_between_processes():
    value = compiled("rules: ['DST-PORT,25,REJECT', 'MATCH,DIRECT']")
    assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301 (ours)
