"""Lists of words with `/` between them, as IN-TYPE, IN-USER and IN-NAME have them."""

from __future__ import annotations


def parse_words(text: str, what: str) -> list[str]:
    """The words, without the blanks around them.

    Raises:
        ValueError: one is empty.
    """
    words = [word.strip() for word in text.split("/")]
    if "" in words:
        raise ValueError(f"an empty {what} in {text!r}")
    return words
