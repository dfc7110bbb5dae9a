"""`mihomo-tproxy check` (mihomo's `-t`): everything wrong with a file, with its line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.cli.files import config_path
from mihomo_tproxy.config import load
from mihomo_tproxy.config.compiling import compile_config

if TYPE_CHECKING:
    import argparse


def check(args: argparse.Namespace) -> int:
    """Print the warnings and the outcome; problems are raised as ConfigError."""
    path = config_path(args.file, args.directory)
    compiled = compile_config(load(path, args.directory or ""))
    for warning in compiled.warnings:
        print(f"warning: {warning}")
    print(f"configuration file {path} test is successful: {compiled.rules} rules")
    return 0
