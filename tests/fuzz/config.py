"""Whole configurations: any bytes, alone and behind a beginning that has every kind of section, and
any lines as rules, sub-rules, names and filters."""

from __future__ import annotations

import json

from mihomo_tproxy.config import parse
from mihomo_tproxy.config.compiling import compile_config
from mihomo_tproxy.errors import ConfigError
from mihomo_tproxy.rule.flatten import build_image

MOST = 2000
BEGINNING = """proxies: [{name: a, type: socks5, server: a.test, port: 1}]
proxy-providers: {p: {type: inline, payload: [{name: b, type: direct}]}}
proxy-groups: [{name: g, type: select, use: [p], include-all: true, filter: 'a`b'}]
rule-providers: {r: {type: inline, behavior: classical, payload: ['DOMAIN,a.test']}}
sub-rules: {s: ['RULE-SET,r,g']}
"""


def target(data: bytes) -> None:
    """Nothing but a ConfigError escapes; what is valid can be compiled; all is said in a line."""
    text = data[:MOST].decode("utf-8", "replace")
    lines = text.split("\n")
    built = {
        "proxies": [{"name": lines[0], "type": "direct"}],
        "proxy-groups": [{"name": line, "type": "select", "include-all": True, "filter": line}
                         for line in lines],
        "rule-providers": {"r": {"type": "inline", "behavior": "classical", "payload": lines}},
        "sub-rules": dict.fromkeys(lines[:3], lines),
        "rules": ["RULE-SET,r,DIRECT", *lines],
    }  # fmt: skip
    rules = json.dumps({"rules": ["RULE-SET,r,g", *lines]})[1:-1]
    for whole in (text, BEGINNING + text, f"{BEGINNING}{rules}\n", json.dumps(built)):
        try:
            config = parse(whole, "/nonexistent")
        except ConfigError as error:
            said = [str(problem) for problem in error.problems]
        else:
            compile_config(config)
            build_image(config.rules)
            said = list(config.warnings)
        assert said or whole.strip()
        assert not any("\n" in line for line in said)
