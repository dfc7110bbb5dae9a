"""Every error this package raises on purpose.

    GatewayError             a sentence for the user; the command exits with `exit_code`
    ├── ConfigError          the configuration cannot be used; carries every problem found
    ├── DataplaneError       the kernel side could not be brought up or read
    │   ├── BpfUnavailable   no bcc, no headers, no privilege, or a kernel too old
    │   └── NetlinkFailed    an interface, rule, route or filter operation was refused
    ├── WorkerFailed         a relay worker did not come up or does not stay up
    └── RigError             the test rig could not be built

    NeedsAddress             a rule needs the address of a flow that has a name only
    FetchFailed              the keeper did not get what it asked a server for

    ProtocolError            a peer and we do not understand each other; ends one flow
    ├── LocalProtocolError   what we were asked to say cannot be said in the protocol
    └── RemoteProtocolError  the peer broke the protocol, or speaks another one
        ├── AuthenticationFailed  the peer refuses our credentials, or its data do not verify
        ├── DestinationRefused    the proxy did not reach the destination for us
        ├── NoAnswer         the peer ended before it said anything
        └── ReplayDetected   the same data came a second time

A flow that fails raises nothing beyond its handler: network code turns OSError into a cause
(`net.sockopt.cause_of`), a ProtocolError carries its own, the tracker counts it, and the flow is
closed.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from mihomo_tproxy.printing import printable

MAX_SHOWN: Final = 1000
"""Characters of one problem."""


class GatewayError(Exception):
    """Something the user must know, as one sentence without a traceback."""

    exit_code = 1


class Problem(NamedTuple):
    """One thing wrong in a configuration file: where it stands and what it is."""

    path: str
    """Where, in the file's own words: `rules[3]`, `gateway.lan`."""
    message: str
    line: int | None = None
    """1-based line of the file, None when the key is absent."""

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line is not None else ""
        text = f"{where}{self.path}: {self.message}" if self.path else f"{where}{self.message}"
        return printable(text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}...")


class ConfigError(GatewayError):
    """The configuration cannot be used; `problems` names every reason found."""

    exit_code = 2

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems

    def __reduce__(self) -> tuple[type[ConfigError], tuple[list[Problem]]]:
        return (ConfigError, (self.problems,))


class DataplaneError(GatewayError):
    """The kernel side could not be brought up or read."""

    exit_code = 3


class BpfUnavailable(DataplaneError):
    """No bcc, no kernel headers, no privilege, or a kernel too old."""


class NetlinkFailed(DataplaneError):
    """An interface, rule, route or filter operation was refused."""


class WorkerFailed(GatewayError):
    """A relay worker did not come up or does not stay up."""

    exit_code = 4


class RigError(GatewayError):
    """The test rig could not be built or used."""

    exit_code = 5


class NeedsAddress(Exception):
    """A rule needs the address of a flow that has a name only. See `rule.engine`."""


class FetchFailed(Exception):
    """The keeper did not get what it asked a server for.

    `cause` is a few words with hyphens from a closed set, as those of ProtocolErrors; the message
    is a sentence for the user.
    """

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause


class ProtocolError(Exception):
    """A peer and we do not understand each other. Raised by codecs and layers only.

    `cause` is the counter it goes under: a few words with hyphens, from a closed set, never made
    of what the peer sent. The message is for the debug log and holds no secret.
    """

    def __init__(self, cause: str, message: str = "") -> None:
        super().__init__(message or cause)
        self.cause = cause


class LocalProtocolError(ProtocolError):
    """What we were asked to say cannot be said in the protocol."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol, or speaks another one."""


class AuthenticationFailed(RemoteProtocolError):
    """The peer refuses our credentials, or its data do not verify."""


class DestinationRefused(RemoteProtocolError):
    """The proxy did not reach the destination for us."""


class NoAnswer(RemoteProtocolError):
    """The peer ended before it said anything.

    That is a refusal without words, or a destination that had nothing to say: who can pass an
    orderly end on does so, and counts the cause.
    """


class ReplayDetected(RemoteProtocolError):
    """The same data came a second time."""
