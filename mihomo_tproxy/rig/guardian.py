"""Takes a rig down when the process that held it is gone, by whatever death.

    python -m mihomo_tproxy.rig.guardian STATE-FILE OWNER-PID

Standard input is a pipe only the owner writes to, so its end is the owner's end; the owner's pidfd
says the same when a forked child of it still holds the pipe. A rig that was taken down in order has
no state file any more, and then nothing is left to do. It runs in a session of its own and
ignores the signals a terminal or a CI runner sends to whole groups.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from contextlib import suppress
from pathlib import Path

from mihomo_tproxy.rig import state


def main(arguments: list[str]) -> int:
    """Waits for the owner's end, then cleans what it left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    path, owner = Path(arguments[0]), int(arguments[1])
    poll = select.poll()
    poll.register(0, select.POLLIN)
    with suppress(ProcessLookupError):
        poll.register(os.pidfd_open(owner), select.POLLIN)
        poll.poll()
    found = state.load(path)
    if found is not None and found.owner == owner:
        return 1 if state.clean(found) else 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
