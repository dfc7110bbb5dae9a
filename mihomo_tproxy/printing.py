"""Text of strangers on its way to a terminal or a log.

Names of proxies and lists come from servers. Invariant: what is printed of them keeps to its line
and moves no cursor.
"""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with everything that is not a character to see, or a space, written as `repr` does.

    The joiner within an emoji (U+200D) stays; alone it is harmless.
    """
    if text.isprintable():
        return text
    return "".join(
        symbol if symbol.isprintable() or symbol == "\u200d" else repr(symbol)[1:-1]
        for symbol in text
    )
