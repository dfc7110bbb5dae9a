"""Whether a download is what it should be, found out in a process of its own, with limits.

`python -m mihomo_tproxy.keeper.validate` reads a pickled `Job` from its input and answers with one
line: `ok NUMBER` (of rules or proxies, if they were counted) or `bad SENTENCE`. What the file makes
it do, in memory or time, ends with it.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
from typing import Any, Final, NamedTuple

import mihomo_tproxy
from mihomo_tproxy.children import end_with_parent

MEMORY_BYTES: Final = 1 << 30
CPU_S: Final = 60
WALL_S: Final = 120.0
ANSWER_BYTES: Final = 1000


class Job(NamedTuple):
    """One file to look at."""

    kind: str
    """`rule`, `proxy` or `geo`."""
    path: str
    details: tuple[Any, ...]
    """rule: behavior and format. proxy: the provider's `parsing`. geo: the kind of file."""


def validate(job: Job) -> int:
    """Look at a file; how many rules or proxies it brings, 0 for those that are not counted.

    Raises:
        ValueError: it is of no use; the text says why.
        OSError: it cannot be read.
    """
    # Each kind brings its own libraries: only what is asked for is imported.
    if job.kind == "geo":
        from mihomo_tproxy.geo.validate import validate as validate_geo

        validate_geo(job.details[0], job.path)
        return 0
    with open(job.path, "rb") as file:
        data = file.read()
    if job.kind == "proxy":
        from mihomo_tproxy.provider.proxy_content import validate as validate_proxies

        return validate_proxies(data, *job.details)
    from mihomo_tproxy.provider.rule_content import read_content

    found = read_content(data, *job.details)
    if not found.taken:
        raise ValueError(f"there is no rule in it: {found.reason or 'it is empty'}")
    return found.taken


async def validate_apart(job: Job) -> int:
    """`validate` in a process of its own.

    Raises:
        ValueError: it is of no use, or took too much memory or time.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", "-m", "mihomo_tproxy.keeper.validate"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": _python_path()},
    )
    try:
        async with asyncio.timeout(WALL_S):
            output, _ = await process.communicate(pickle.dumps(job))
    except TimeoutError:
        raise ValueError(f"looking through it took more than {WALL_S:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    word, _, rest = output[:ANSWER_BYTES].decode("utf-8", "replace").strip().partition(" ")
    if word == "ok":
        return int(rest)
    raise ValueError(rest or "looking through it took too much memory or time")


def _python_path() -> str:
    """Where this package is, before whatever is there already."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(mihomo_tproxy.__file__)))
    return os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])


def main() -> None:
    """Answer the job on standard input."""
    import resource

    end_with_parent(os.getppid())
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    os.nice(10)  # flows come first
    job = pickle.load(sys.stdin.buffer)  # noqa: S301 (our own parent wrote it)
    try:
        answer = f"ok {validate(job)}"
    except (ValueError, OSError) as error:
        answer = f"bad {error}"
    except MemoryError:
        answer = "bad it takes too much memory"
    sys.stdout.write(" ".join(answer.split())[:ANSWER_BYTES])


if __name__ == "__main__":
    main()
