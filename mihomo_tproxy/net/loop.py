"""asyncio and uvloop, imported without OpenSSL.

Both import `ssl` for the TLS that a loop can do, which the relay does not use: its TLS is a
non-blocking SSLSocket on the flow reactor, imported when an outbound wants it. Left alone the
import costs every worker 4.7 MB, a sixth of the whole gateway's memory. So while they are imported
`ssl` is a stand-in that has the names they look up; afterwards `import ssl` is the real one. Asking
the loop itself for TLS fails with TypeError: no real SSLContext is an instance of the stand-in's.
"""

from __future__ import annotations

import sys
from types import ModuleType

NAMES = (
    "CertificateError",
    "MemoryBIO",
    "SSLContext",
    "SSLError",
    "SSLSyscallError",
    "SSLWantReadError",
    "SSLZeroReturnError",
)
NUMBERS = ("SSL_ERROR_SYSCALL", "SSL_ERROR_WANT_READ", "SSL_ERROR_WANT_WRITE")


def stand_in() -> ModuleType:
    """A module called ssl with what asyncio (3.11 to 3.14) and uvloop look up on import."""
    module = ModuleType("ssl")
    for name in NAMES:
        setattr(module, name, type(name, (Exception,), {}))
    for number, name in enumerate(NUMBERS):
        setattr(module, name, number)
    module.__dict__["create_default_context"] = None
    return module


def import_loop() -> None:
    """Import asyncio and uvloop; without OpenSSL if nobody has it yet.

    A version that looks up more than the stand-in has gets the real module after all.
    """
    if "ssl" in sys.modules or "asyncio" in sys.modules:
        import uvloop

        return
    sys.modules["ssl"] = stand_in()
    try:
        import uvloop
    except (AttributeError, ImportError, TypeError):
        for name in [n for n in sys.modules if n.partition(".")[0] in ("asyncio", "uvloop")]:
            del sys.modules[name]
    finally:
        del sys.modules["ssl"]
    import uvloop  # noqa: F401
