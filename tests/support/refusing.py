"""What is said against a file: its problems, or what is left out of it."""

from __future__ import annotations

import re

from mihomo_tproxy.config import parse
from mihomo_tproxy.errors import ConfigError, Problem

_LEFT_OUT = re.compile(r"(?:line (\d+): )?(\S+): ('.*?' is left out: .*)", re.DOTALL)


def complaints(text: str) -> list[Problem]:
    """The problems; without any, the entries that are left out."""
    try:
        warnings = parse(text).warnings
    except ConfigError as error:
        return error.problems
    found = [match for warning in warnings if (match := _LEFT_OUT.fullmatch(warning))]
    return [Problem(match[2], match[3], int(match[1]) if match[1] else None) for match in found]
