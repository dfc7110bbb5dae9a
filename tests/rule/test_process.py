"""PROCESS rules, as observed with mihomo 1.19.32."""

from __future__ import annotations

import pytest
from support.flows import metadata, request

from mihomo_tproxy.model import fields
from mihomo_tproxy.rule.registry import parse_rule


@pytest.mark.parametrize(
    ("head", "matches"),
    [
        ("PROCESS-NAME,python3.11", True),
        ("PROCESS-NAME,PYTHON3.11", True),
        ("PROCESS-NAME,python3", False),
        ("PROCESS-NAME,*", False),
        ("PROCESS-NAME-WILDCARD,Python*", True),
        ("PROCESS-NAME-WILDCARD,ython*", False),
        ("PROCESS-NAME-REGEX,^PY", True),
        ("PROCESS-NAME-REGEX,^py.*,?$", True),
        ("PROCESS-NAME-REGEX,/", False),
        ("PROCESS-NAME-REGEX,^(?!curl)", True),
        ("PROCESS-PATH,/usr/bin/Python3.11", True),
        ("PROCESS-PATH,python3.11", False),
        ("PROCESS-PATH-WILDCARD,/USR/*/py*", True),
        ("PROCESS-PATH-WILDCARD,python*", False),
        ("PROCESS-PATH-REGEX,/bin/py", True),
    ],
)
def test_match(head: str, matches: bool) -> None:
    flow = request("192.0.2.1")
    flow.process_path = "/usr/bin/python3.11"
    rule = parse_rule(f"{head},out")
    assert rule.fields == fields.PROCESS
    assert rule.match(flow) is matches


def test_another_hosts_program_has_no_name() -> None:
    assert not parse_rule("PROCESS-NAME,curl,out").match(metadata())
    assert parse_rule("PROCESS-NAME-REGEX,^$,out").match(metadata())


def test_bad_expression() -> None:
    with pytest.raises(ValueError, match="bad expression"):
        parse_rule("PROCESS-PATH-REGEX,(,out")
