"""The plugin in runs that cannot build rigs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mihomo_tproxy.rig import pytest_plugin

ROOT = Path(__file__).resolve().parents[2]


def test_without_root_the_test_is_skipped_with_the_reason(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(pytest.skip.Exception, match="a rig needs root"), pytest_plugin._factory():
        pass


def test_loading_it_imports_nothing_of_the_rig():
    program = (
        "import sys\n"
        "import mihomo_tproxy.rig.pytest_plugin\n"
        "print('yaml' in sys.modules, 'asyncio' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout == "False False\n"
