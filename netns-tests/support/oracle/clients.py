"""Steered flows of both clients, all at once, and the way each of them went.

Who answers says what he is and whom he saw: the client itself, if the kernel forwarded the flow,
or the gateway. A flow that the kernel discards is one whose handshake nobody answers; of datagrams
only the counters tell.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final, NamedTuple

from support.differential.clients import open_flow_socket
from support.differential.internet import DIRECT
from support.oracle.expected import ENDED, HELD, KERNEL, UNREACHED
from support.oracle.world import SOURCES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from support.differential.flow import Flow
    from support.oracle.expected import Expected

    from mihomo_tproxy.rig import Rig

ANSWER_S: Final = 5.0
SILENCE_S: Final = 0.4
"""How long silence is listened to, where it is expected; shorter than a SYN takes to come again."""
AT_ONCE: Final = 100
SILENT: Final = "silence"
"""A datagram that nobody answers: HELD or UNREACHED."""


class Patience(NamedTuple):
    """How long is waited for a handshake, and for an answer, in seconds."""

    handshake: float
    answer: float


def patience_for(flow: Flow, expected: Expected) -> Patience:
    """Little for what is expected to be silent."""
    silent = HELD in expected.relay or expected.kernel == UNREACHED
    silent = silent or (flow.network == "udp" and ENDED in expected.relay)
    return Patience(
        SILENCE_S if expected.kernel == UNREACHED else ANSWER_S, SILENCE_S if silent else ANSWER_S
    )


def run_steered(rig: Rig, expected: Mapping[Flow, Expected]) -> dict[Flow, str]:
    """The way of each flow."""
    return asyncio.run(_run_all(rig, expected))


async def _run_all(rig: Rig, expected: Mapping[Flow, Expected]) -> dict[Flow, str]:
    free = asyncio.Semaphore(AT_ONCE)

    async def run(flow: Flow) -> str:
        async with free:
            return await _run(rig, flow, patience_for(flow, expected[flow]))

    ways = await asyncio.gather(*map(run, expected))
    return dict(zip(expected, ways, strict=True))


async def _run(rig: Rig, flow: Flow, patience: Patience) -> str:
    loop = asyncio.get_running_loop()
    tcp = flow.network == "tcp"
    kind = socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM
    with rig.clients[flow.client].enter():
        sock = open_flow_socket(rig, flow, kind, flow.source_port)
    silence = UNREACHED if tcp else SILENT
    with sock:
        try:
            async with asyncio.timeout(patience.handshake):
                await loop.sock_connect(sock, (flow.host, flow.port))
            silence = HELD if tcp else SILENT
            async with asyncio.timeout(patience.answer):
                await loop.sock_sendall(sock, b"hello\n")
                answer = (await loop.sock_recv(sock, 2048)).decode()
        except TimeoutError:
            return silence
        except ConnectionError:
            return ENDED
    return _way(flow, answer)


def _way(flow: Flow, answer: str) -> str:
    """How the flow went, by what its answer says."""
    if not answer:
        return ENDED
    name, *said = answer.split()
    if name != DIRECT:
        assert said == [flow.host, str(flow.port)], f"{flow} was asked for as {said}"
        return name
    return KERNEL if said == [SOURCES[flow.client, flow.version]] else DIRECT
