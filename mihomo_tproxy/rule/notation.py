"""The notation of a rule line: what is between its commas, and between parentheses.

    KIND,payload,target[,option...]        DOMAIN-REGEX,pay,load,target
    AND,((KIND,payload),(KIND,payload)),target

As in mihomo blanks around commas do not count, an expression may contain commas itself, and
parentheses are counted as they stand: an expression inside a logic rule must balance its own.
"""

from __future__ import annotations

from typing import Final

COMMAS_IN_PAYLOAD: Final = frozenset(
    {
        *("AND", "DOMAIN-REGEX", "NOT", "OR", "PROCESS-NAME-REGEX", "PROCESS-PATH-REGEX"),
        "SUB-RULE",
    }
)
"""Kinds whose payload reaches to the target at the end; they take no options."""


def split_conditions(payload: str) -> list[str]:
    """The texts of the conditions of a logic rule: `((A,a),(B,b))` -> `A,a` and `B,b`.

    The commas between them may be missing, as in mihomo.

    Raises:
        ValueError: parentheses do not match, or something stands between them.
    """
    text = payload.strip()
    found: list[str] = []
    depth = start = 0
    outside: list[str] = []
    for place, symbol in enumerate(text):
        if symbol == "(":
            depth += 1
            if depth == 2:
                start = place + 1
        elif symbol == ")":
            depth -= 1
            if depth == 1:
                found.append(text[start:place].strip())
            elif depth < 0:
                raise ValueError(f"a '(' is missing in {payload!r}")
        elif depth < 2:
            outside.append(symbol)
    if depth:
        raise ValueError(f"a ')' is missing in {payload!r}")
    if not found or set(outside) - {",", " "}:
        raise ValueError(
            f"not a list of conditions: {payload!r} (each has its own parentheses, as in"
            " ((NETWORK,tcp),(DST-PORT,443)))"
        )
    return found
