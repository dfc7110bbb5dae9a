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
        "tproxy-port: 7893",
        "tproxy-port: 7893\nallow-lan: true",
    ],
)
def test_processes_and_listeners_are_kept(change):
    old, new = compiled("mode: rule"), compiled(change)
    kept = new.keep_fixed(old)
    assert kept != new
    assert (kept.plan.workers, kept.plan.local) == (old.plan.workers, old.plan.local)
    assert kept.listening == old.listening


@pytest.mark.parametrize("change", ["rules: ['MATCH,REJECT']", "gateway: {on-failure: closed}"])
def test_rules_and_flags_change(change):
    new = compiled(change)
    assert new.keep_fixed(compiled("mode: rule")) == new


def test_what_is_not_kept_is_the_new_one():
    old = compiled("tproxy-port: 7893\ngateway: {workers: 2}")
    kept = compiled("rules: ['MATCH,REJECT']\ngateway: {on-failure: closed}").keep_fixed(old)
    assert kept.plan.closed
    assert (kept.rules, kept.plan.workers, kept.listening) == (1, 2, old.listening)


def test_the_gateways_own_traffic_can_be_let_go():
    new = compiled("mode: rule")
    assert new.keep_fixed(compiled("gateway: {local: true}")) == new


def test_it_travels_between_processes():
    value = compiled("rules: ['DST-PORT,25,REJECT', 'MATCH,DIRECT']")
    assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301 (ours)
