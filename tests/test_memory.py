"""Which pages may be given back."""

from __future__ import annotations

import subprocess
import sys

from mihomo_tproxy.memory import clean_ranges

SMAPS = """\
00400000-00500000 r-xp 00000000 08:01 1                                  /usr/bin/python3
Rss:                1000 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
00500000-00600000 r--p 00100000 08:01 1                                  /usr/bin/python3
Rss:                 100 kB
Anonymous:             8 kB
00600000-00700000 rw-p 00200000 08:01 1                                  /usr/bin/python3
Anonymous:             0 kB
7f0000000000-7f0000100000 r--p 00000000 08:01 2                          /usr/lib/libx.so (deleted)
Anonymous:             0 kB
7f0000200000-7f0000300000 r--p 00000000 08:01 2                          /usr/lib/liby.so
Anonymous:             0 kB
7f0000400000-7f0000500000 r--p 00000000 00:00 0
Anonymous:             0 kB
7ffc00000000-7ffc00002000 r-xp 00000000 00:00 0                          [vdso]
Anonymous:             0 kB
"""


def test_only_read_only_mappings_that_are_as_their_file_is():
    assert list(clean_ranges(SMAPS.splitlines(keepends=True))) == [
        (0x400000, 0x500000),
        (0x7F0000200000, 0x7F0000300000),
    ]


def test_a_process_lives_on_and_is_smaller():
    program = """
import hashlib, json, ssl, re
from mihomo_tproxy.memory import trim
def rss():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssFile"))
before = rss()
trim()
after = rss()
assert json.loads("[1]") == [1] and re.match("a+", "aaa") and ssl.create_default_context()
assert hashlib.sha256(b"").hexdigest().startswith("e3b0")
print(after < before)
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout == "True\n"
