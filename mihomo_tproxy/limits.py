"""How many files this process may have open: a relayed flow owns two sockets, a bulky one pipes.

Login shells hand on a soft limit of 1024, which some 500 flows use up (getrlimit(2)).
"""

from __future__ import annotations

import resource
from contextlib import suppress


def raise_open_files(wanted: int) -> int:
    """Allow `wanted` open files, or as many as the system lets us; what is allowed now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for target in (max(wanted, hard), hard):
        if soft >= target:
            break
        # Beyond the hard limit only with CAP_SYS_RESOURCE, and never beyond fs.nr_open.
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, target))
            break
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
