"""The configuration file: mihomo's YAML, typed.

`schema` is all that a long-lived process needs: a `Config` arrives there pickled. The parser and
PyYAML are imported by the first call that reads a file.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mihomo_tproxy.config.schema import Config
    from mihomo_tproxy.config.yaml import Document


def load(path: str, home: str = "") -> Config:
    """The configuration in a file; its home directory is the file's own if none is given.

    Raises:
        ConfigError: the file cannot be read or used; it carries every problem found.
    """
    return load_with_lines(path, home)[0]


def load_with_lines(path: str, home: str = "") -> tuple[Config, Document]:
    """As `load`, and the document, which knows the line of everything in it."""
    from mihomo_tproxy.config.toplevel import parse_document
    from mihomo_tproxy.config.yaml import load_file

    home = os.path.realpath(home or os.path.dirname(path) or ".")
    document = load_file(path)
    return parse_document(document, home), document


def parse(text: str, home: str = "") -> Config:
    """The configuration in a text.

    Raises:
        ConfigError: the text cannot be used; it carries every problem found.
    """
    from mihomo_tproxy.config.toplevel import parse_document
    from mihomo_tproxy.config.yaml import load_text

    return parse_document(load_text(text), home)
