"""What the supervisor loads before it forks is what the workers need."""

from __future__ import annotations

import pickle

import pytest

from mihomo_tproxy.config import parse
from mihomo_tproxy.config.compiling import compile_config
from mihomo_tproxy.config.modules import image_modules, worker_modules
from mihomo_tproxy.rule.flatten import build_image
from mihomo_tproxy.rule.registry import parse_rule

VLESS = "{name: p, type: vless, server: a.test, port: 1, uuid: x"


def modules(proxy: str) -> set[str]:
    config = parse(f"proxies:\n  - {proxy}\nrules: ['MATCH,p']")
    return set(worker_modules(config, pickle.dumps(config)))


def test_the_modules_of_the_configuration_itself():
    found = modules("{name: p, type: direct}")
    assert {"mihomo_tproxy.config.schema", "mihomo_tproxy.rule.match"} <= found
    assert not any(name.startswith("mihomo_tproxy.transport") for name in found)


def test_tls_and_its_codec_of_names():
    names = {"mihomo_tproxy.outbound.vless", "mihomo_tproxy.transport.tls", "encodings.idna"}
    assert names <= modules(VLESS + ", tls: true}")
    assert names & modules(VLESS + "}") == {"mihomo_tproxy.outbound.vless"}


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ("network: ws", "websocket"),
        ("network: ws, ws-opts: {v2ray-http-upgrade: true}", "httpupgrade"),
        ("network: http", "http"),
        ("network: h2, tls: true", "h2"),
        ("network: grpc, tls: true", "grpc"),
    ],
)
def test_transports(options, name):
    assert f"mihomo_tproxy.transport.{name}" in modules(f"{VLESS}, {options}}}")


def test_compiled_configurations_carry_them():
    config = parse("listeners: [{name: a, type: socks, port: 1080}]")
    assert "mihomo_tproxy.inbound.inbound" in compile_config(config).modules


def test_what_providers_bring_is_loaded_too():
    config = parse(f"proxy-providers: {{a: {{type: inline, payload: [{VLESS}, tls: true}}]}}}}")
    found = worker_modules(config, pickle.dumps(config))
    assert {"mihomo_tproxy.outbound.vless", "mihomo_tproxy.transport.tls"} <= set(found)


def test_rules_that_stay_objects_bring_their_modules() -> None:
    lines = ("AND,((NETWORK,udp),(DST-PORT,443)),DIRECT", "IN-USER,me,DIRECT", "MATCH,DIRECT")
    found = image_modules(build_image([parse_rule(line) for line in lines]))
    assert {f"mihomo_tproxy.rule.{name}" for name in ("logic", "in_user", "match")} <= found
