"""Which program of this host a flow comes from: its user, and its path.

The kernel is asked for the one socket with the flow's addresses (sock_diag(7), linux/inet_diag.h:
`inet_diag_req_v2`), which is a look-up, not a dump. It answers within the request, so nothing here
waits. The path needs more: the process whose descriptors name the socket's inode (proc(5),
`/proc/PID/fd`), a search that is bounded, and only made if somebody wants paths.

    request   nlmsghdr 16 | family, protocol, ext, pad, states 8 | sockid 48
    sockid    sport, dport (big-endian) | src 16 | dst 16 | interface 4 | cookie 8
    answer    nlmsghdr 16 | family, state, timer, retrans 4 | sockid 48 | 12 | uid 4 | inode 4

The kernel also finds sockets that are bound to no address; they are the flow's only if it comes
from an address of this host: another host may use the port of a server here.

Invariants: at most `MAX_CACHED` answers are kept, each for `KEPT_S`; one search reads at most
`MAX_LINKS` descriptors.
"""

from __future__ import annotations

import os
import struct
from socket import (
    AF_INET,
    AF_INET6,
    AF_NETLINK,
    IPPROTO_TCP,
    IPPROTO_UDP,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOCK_RAW,
    SocketType,
    inet_pton,
)
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

from mihomo_tproxy.model.enums import Network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEPT_S: Final = 2.0
MAX_CACHED: Final = 1024
MAX_LINKS: Final = 16384
"""Some 20 ms."""
MAX_RECENT: Final = 16
"""Processes that are looked at first, because they had sockets lately."""

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_NLM_F_REQUEST: Final = 1
_ALL_STATES: Final = 0xFFFFFFFF
_NO_COOKIE: Final = b"\xff" * 8
_REQUEST: Final = struct.Struct("=IHHII BBBxI")
_PORTS: Final = struct.Struct(">HH")
_ANSWER_BYTES: Final = 512
_HEADER_BYTES: Final = 16
_MESSAGE_BYTES: Final = 72
_PORTS_AT: Final = _HEADER_BYTES + 4
_STATE_AT: Final = _HEADER_BYTES + 1
_SOURCE_AT: Final = _HEADER_BYTES + 8
_LISTEN: Final = 10
_NO_ADDRESS: Final = bytes(16)
_UID_AND_INODE: Final = struct.Struct("=II")
_UID_AT: Final = _HEADER_BYTES + 64
_DELETED: Final = " (deleted)"


class Owner(NamedTuple):
    """Who opened a flow."""

    uid: int
    path: str
    """Of the program's file; "" if it was not asked for or not found."""


class OwnerFinder:
    """Asks the kernel, and remembers the answers for a moment."""

    def __init__(
        self,
        *,
        paths: bool,
        proc: str = "/proc",
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`paths`: whether paths are wanted, which cost a search.

        Raises:
            OSError: the kernel has no such netlink family, or no descriptor is left.
        """
        self._paths = paths
        self._proc = proc
        self._clock = clock
        self._socket = SocketType(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, _NETLINK_SOCK_DIAG)
        self._cache: dict[tuple[Network, str, int], tuple[float, Owner | None]] = {}
        self._recent: dict[str, None] = {}

    def close(self) -> None:
        """Give the descriptor back."""
        self._socket.close()

    def find_owner(
        self,
        network: Network,
        source: str,
        source_port: int,
        destination: str,
        destination_port: int,
    ) -> Owner | None:
        """The owner of the socket that a flow comes from; None if it is none of this host's."""
        key = (network, source, source_port)
        now = self._clock()
        kept = self._cache.get(key)
        if kept is not None and now < kept[0]:
            return kept[1]
        owner = self._ask(network, source, source_port, destination, destination_port)
        if len(self._cache) >= MAX_CACHED:
            self._cache.clear()
        self._cache[key] = (now + KEPT_S, owner)
        return owner

    def _ask(
        self, network: Network, source: str, source_port: int, destination: str, port: int
    ) -> Owner | None:
        request = _request(network, source, source_port, destination, port)
        try:
            self._socket.send(request)
            answer = self._socket.recv(_ANSWER_BYTES)
        except OSError:
            return None
        if len(answer) < _HEADER_BYTES + _MESSAGE_BYTES:
            return None  # an error: there is no such socket
        found, _ = _PORTS.unpack_from(answer, _PORTS_AT)
        if found != source_port or not _is_of(answer, source):
            return None
        uid, inode = _UID_AND_INODE.unpack_from(answer, _UID_AT)
        return Owner(uid, self._path(uid, inode) if self._paths and inode else "")

    def _path(self, uid: int, inode: int) -> str:
        wanted = f"socket:[{inode}]"
        budget = MAX_LINKS
        recent = list(self._recent)
        for pid in (*reversed(recent), *self._processes(uid, set(recent))):
            for link in self._descriptors(pid):
                if link == wanted:
                    return self._program(pid)
                budget -= 1
                if not budget:
                    return ""
        return ""

    def _processes(self, uid: int, but: set[str]) -> Iterator[str]:
        """The user's processes, youngest first: a new socket is often a new process's."""
        try:
            names = os.listdir(self._proc)
        except OSError:
            return
        pids = sorted((name for name in names if name.isdigit() and name not in but), key=int)
        for pid in reversed(pids):
            try:
                if os.stat(f"{self._proc}/{pid}").st_uid == uid:
                    yield pid
            except OSError:
                continue

    def _descriptors(self, pid: str) -> Iterator[str]:
        folder = f"{self._proc}/{pid}/fd"
        try:
            names = os.listdir(folder)
        except OSError:
            self._recent.pop(pid, None)  # it ended, or is not ours to look at
            return
        for name in names:
            try:
                yield os.readlink(f"{folder}/{name}")
            except OSError:
                continue  # closed since

    def _program(self, pid: str) -> str:
        self._recent.pop(pid, None)
        while len(self._recent) >= MAX_RECENT:
            del self._recent[next(iter(self._recent))]
        self._recent[pid] = None
        try:
            return os.readlink(f"{self._proc}/{pid}/exe").removesuffix(_DELETED)
        except OSError:
            return ""


def _is_of(answer: bytes, source: str) -> bool:
    """Whether a socket that was found can have opened a flow from there."""
    if answer[_STATE_AT] == _LISTEN:
        return False
    return answer[_SOURCE_AT : _SOURCE_AT + 16] != _NO_ADDRESS or _is_local(source)


def _is_local(address: str) -> bool:
    family = AF_INET6 if ":" in address else AF_INET
    probe = SocketType(family, SOCK_DGRAM)
    try:
        probe.bind((address, 0))
    except OSError:
        return False
    finally:
        probe.close()
    return True


def _request(network: Network, source: str, source_port: int, destination: str, port: int) -> bytes:
    """The look-up of one socket. For UDP the kernel wants the ends exchanged (udp_dump_one)."""
    family = AF_INET6 if ":" in source else AF_INET
    local = inet_pton(family, source.partition("%")[0]).ljust(16, b"\0")
    remote = inet_pton(family, destination.partition("%")[0]).ljust(16, b"\0")
    if network is Network.TCP:
        protocol, ports, ends = IPPROTO_TCP, _PORTS.pack(source_port, port), local + remote
    else:
        protocol, ports, ends = IPPROTO_UDP, _PORTS.pack(port, source_port), remote + local
    body = ports + ends + bytes(4) + _NO_COOKIE
    length = _REQUEST.size + len(body)
    head = _REQUEST.pack(
        length, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 0, 0, family, protocol, 0, _ALL_STATES
    )
    return head + body
