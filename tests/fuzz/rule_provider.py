"""Files of rule providers: any bytes, and any lines under a good head."""

from __future__ import annotations

from mihomo_tproxy.config.specs.provider import Behavior, Format
from mihomo_tproxy.provider.lines import item_of, yaml_lines
from mihomo_tproxy.provider.rule_content import read_content

HEAD = b"payload:\n"


def target(data: bytes) -> None:
    """Nothing but a ValueError escapes; lines are taken or counted; YAML is what YAML says."""
    for behavior in Behavior:
        for form in Format:
            try:
                parsed = read_content(data, behavior, form)
            except ValueError:
                continue
            if form is not Format.MRS:
                assert parsed.taken + parsed.skipped <= data.count(b"\n") + 1
    lines = data[:500].decode("utf-8", "replace").split("\n")
    slow = [item for item in (item_of("payload:", line) for line in lines) if item]
    try:
        assert yaml_lines(HEAD + "\n".join(lines).encode()).rules == slow
    except ValueError as error:
        raise AssertionError(data) from error
