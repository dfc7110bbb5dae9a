"""The loop comes without OpenSSL, and nobody else notices."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
from mihomo_tproxy.net.loop import import_loop
import_loop()
assert "ssl" not in sys.modules and "_ssl" not in sys.modules
import asyncio, uvloop
async def main():
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"x")
    data = await reader.readexactly(1)
    writer.close()
    return data
async def echo(reader, writer):
    writer.write(await reader.readexactly(1))
    writer.close()
async def run():
    global server
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    return await main()
assert uvloop.run(run()) == b"x"
import ssl
assert ssl.create_default_context().minimum_version
print("fine")
"""


def run(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr
    return done.stdout.strip()


def test_loop_runs_without_openssl_which_is_there_when_asked_for() -> None:
    assert run(SCRIPT) == "fine"


def test_a_real_ssl_that_is_there_already_is_kept() -> None:
    script = "import ssl, sys\nfrom mihomo_tproxy.net.loop import import_loop\nimport_loop()\n"
    assert run(script + "print(sys.modules['ssl'] is ssl, ssl.OPENSSL_VERSION[:7])") == (
        "True OpenSSL"
    )


def test_a_loop_that_looks_up_more_gets_the_real_module() -> None:
    script = (
        "import mihomo_tproxy.net.loop as module, sys\nmodule.NAMES = ()\nmodule.import_loop()\n"
        "import uvloop\nprint('_ssl' in sys.modules, uvloop.new_event_loop().close())"
    )
    assert run(script) == "True None"
