"""The configuration file: mihomo's YAML, typed.

`schema` is all that a long-lived process needs: a `Config` arrives there pickled. The parser and
PyYAML are imported by the first call that reads a file.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mihomo_tproxy.config.schema import Config


def load(path: str, home: str = "") -> Config:
    """The configuration in a file; its home directory is the file's own if none is given.

    Raises:
        ConfigError: the file cannot be read or used; it carries every problem found.
    """
    from mihomo_tproxy.config.toplevel import parse_document
    from mihomo_tproxy.config.yaml import load_file

    home = os.path.realpath(home or os.path.dirname(path) or ".")
    return parse_document(load_file(path), home)


def parse(text: str, home: str = "") -> Config:
    """The configuration in a text.

    Raises:
        ConfigError: the text cannot be used; it carries every problem found.
    """
    from mihomo_tproxy.config.toplevel import parse_document
    from mihomo_tproxy.config.yaml import load_text

    return parse_document(load_text(text), home)
