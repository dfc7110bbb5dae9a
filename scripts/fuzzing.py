"""Runs one module of tests/fuzz under atheris: `fuzzing.py NAME [LIBFUZZER OPTION ...]`.

The package is instrumented as it is imported, so that atheris sees which inputs lead to new paths.
"""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Does not return: atheris ends the process."""
    name = sys.argv.pop(1)
    path = ROOT / "tests" / "fuzz" / f"{name}.py"
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    spec = spec_from_file_location(f"fuzz_{name}", path)
    if spec is None or spec.loader is None:
        sys.exit(f"fuzz: {path} cannot be loaded")
    module = module_from_spec(spec)
    with atheris.instrument_imports(include=["mihomo_tproxy"]):
        spec.loader.exec_module(module)
    atheris.Setup(sys.argv, module.target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
