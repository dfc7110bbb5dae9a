"""The configuration file: mihomo's YAML, typed.

`schema` is all that a long-lived process needs: a `Config` arrives there pickled. The parser and
PyYAML are imported by the first call that reads a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mihomo_tproxy.config.schema import Config


def load(path: str) -> Config:
    """The configuration in a file.

    Raises:
        ConfigError: the file cannot be read or used; it carries every problem found.
    """
    from mihomo_tproxy.config.toplevel import parse_document
    from mihomo_tproxy.config.yaml import load_file

    return parse_document(load_file(path))


def parse(text: str) -> Config:
    """The configuration in a text.

    Raises:
        ConfigError: the text cannot be used; it carries every problem found.
    """
    from mihomo_tproxy.config.toplevel import parse_document
    from mihomo_tproxy.config.yaml import load_text

    return parse_document(load_text(text))
