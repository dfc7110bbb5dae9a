"""From the file to the kernel's plan: prefixes, masks and flags."""

from __future__ import annotations

import logging
import pickle

import pytest
from support.flows import metadata

from mihomo_tproxy.config import parse
from mihomo_tproxy.config.compiling import compile_config, compile_file, conditional_targets
from mihomo_tproxy.dataplane.plan import OWN_MARK, STATIC
from mihomo_tproxy.errors import ConfigError
from mihomo_tproxy.model.address import address_key
from mihomo_tproxy.model.enums import TunnelMode, Verdict
from mihomo_tproxy.model.fields import DST_ADDR, DST_PORT
from mihomo_tproxy.rule.engine import Engine
from mihomo_tproxy.rule.image import Image

RULES = """
rules:
  - IP-CIDR,198.51.100.0/24,DIRECT
  - DST-PORT,25,REJECT
  - MATCH,DIRECT
"""


def plan(text):
    return compile_config(parse(text)).plan


def test_addresses_first_become_prefixes_and_the_rest_masks():
    made = plan(RULES)
    key = address_key("198.51.100.0").to_bytes(16, "big")
    assert made.static == STATIC.pack(key, 120, Verdict.DIRECT)
    assert made.masks == (DST_ADDR, DST_ADDR | DST_PORT)
    assert made.cache


@pytest.mark.parametrize("text", ["gateway: {verdict-cache: false}", "interface-name: wan0"])
def test_without_a_cache_the_kernel_decides_nothing(text):
    made = plan(RULES + text)
    assert (made.static, made.masks, made.cache) == (b"", (), False)


def test_the_gateway_block_becomes_the_plan():
    made = plan(
        "routing-mark: 7\nipv6: false\n"
        "gateway: {lan: ['br-*'], bypass: [10.0.0.0/8], bypass-private: false, on-failure: closed,"
        " workers: 3, local: true,"
        " clients: {include: [192.168.1.0/24], exclude: ['02:00:00:00:00:01']}}"
    )
    assert made.patterns == ("br-*",)
    assert made.bypass == ((address_key("10.0.0.0"), 104),)
    assert made.include == ((address_key("192.168.1.0"), 120),)
    assert made.exclude_macs == (bytes.fromhex("020000000001"),)
    assert (made.workers, made.routing_mark) == (3, 7)
    assert made.private
    assert made.closed
    assert made.local
    assert not made.ipv6


def test_the_image_decides_as_the_file_says(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(RULES)
    with (tmp_path / "image").open("w+b") as file:
        compiled = compile_file(str(path), "", file.fileno(), TunnelMode.RULE)
        file.seek(0)
        engine = Engine(Image(file.read()))
    assert compiled.mode is TunnelMode.RULE
    assert engine.match(metadata("198.51.100.7", 25)).target == "DIRECT"
    assert engine.match(metadata("192.0.2.7", 25)).target == "REJECT"


def test_targets_that_may_turn_out_to_be_unusable():
    config = parse(
        "proxies: [{name: a, type: socks5, server: s, port: 1, udp: true},"
        " {name: b, type: socks5, server: s, port: 1}, {name: c, type: http, server: s, port: 1}]\n"
        "proxy-groups: [{name: g, type: select, proxies: [a]}]"
    )
    assert {"b", "c", "g", "PASS"} <= conditional_targets(config)
    assert not {"a", "DIRECT", "REJECT"} & conditional_targets(config)


def test_the_worker_gets_the_whole_configuration():
    config = parse("gateway: {max-flows: 5}")
    assert pickle.loads(compile_config(config).worker) == config  # noqa: S301 (ours)


def test_log_levels_and_warnings_come_along():
    made = compile_config(parse("log-level: silent\ndns: {}"))
    assert made.log_level > logging.CRITICAL
    assert any("dns" in warning for warning in made.warnings)


def test_a_file_that_is_wrong_raises_its_problems(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("mode: sideways\nrules: ['NOPE,1,DIRECT']\n")
    with pytest.raises(ConfigError) as caught:
        compile_file(str(path), "", -1)
    assert [problem.line for problem in caught.value.problems] == [1, 2]


def test_local_steering_gives_the_daemons_sockets_a_mark():
    made = compile_config(parse("gateway: {local: true}"))
    assert made.plan.routing_mark == OWN_MARK
    assert pickle.loads(made.worker).routing_mark == OWN_MARK  # noqa: S301 (ours)
    assert plan("{routing-mark: 7, gateway: {local: true}}").routing_mark == 7
    assert plan("mode: rule").routing_mark == 0


def test_marks_of_all_sockets_are_known_to_the_plan():
    assert plan("mode: rule").used_marks == 0
    assert plan("{gateway: {local: true}}").used_marks == OWN_MARK
    text = """
        routing-mark: 1
        proxies: [{name: p, type: direct, routing-mark: 2}, {name: q, type: direct}]
        listeners: [{name: l, type: tproxy, port: 7000, routing-mark: 4}]
    """
    assert plan(text).used_marks == 7


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        ("type: select", False),
        ("type: select, url: 'http://a.test/'", False),
        ("type: select, interval: 60", True),
        ("type: url-test", True),
        ("type: load-balance", True),
    ],
)
def test_groups_that_are_checked_need_the_keeper(options, needed):
    groups = f"proxy-groups: [{{name: g, proxies: [DIRECT], {options}}}]"
    assert compile_config(parse(groups)).keeper is needed


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        ("type: http, url: 'http://192.0.2.1/', path: ./list", True),
        ("type: file, path: ./list", True),
        ("type: inline, payload: ['192.0.2.0/24']", False),
    ],
)
def test_providers_that_are_downloaded_or_watched_need_the_keeper(options, needed):
    text = f"rule-providers: {{p: {{behavior: ipcidr, {options}}}}}"
    assert compile_config(parse(text)).keeper is needed


def test_a_store_that_cannot_be_read_keeps_nothing_from_starting(tmp_path):
    (tmp_path / "mihomo-tproxy.db").mkdir()
    (tmp_path / "config.yaml").write_text(RULES)
    with (tmp_path / "image").open("wb") as file:
        compiled = compile_file(str(tmp_path / "config.yaml"), "", file.fileno())
    assert compiled.selected == {}
    assert any("selections are not restored" in warning for warning in compiled.warnings)
