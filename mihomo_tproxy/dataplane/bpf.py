"""bpf(2) by ctypes: pinned maps and programs, links, test runs. No library but libc.

Kernel: include/uapi/linux/bpf.h, `union bpf_attr`. Every failure is an OSError with the errno of
the system call; callers turn it into a sentence.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SYSCALL: Final = {
    "x86_64": 321, "aarch64": 280, "riscv64": 280, "loongarch64": 280, "armv7l": 386, "i686": 357,
}.get(os.uname().machine, 280)  # fmt: skip

MAP_LOOKUP, MAP_UPDATE, MAP_DELETE, MAP_NEXT = 1, 2, 3, 4
OBJ_GET, PROG_TEST_RUN = 7, 10
GET_INFO_BY_FD, LINK_CREATE = 15, 28
MAP_UPDATE_BATCH = 26

PERCPU_TYPES: Final = frozenset({5, 6, 10})
"""Per-CPU hash, array and LRU hash (`enum bpf_map_type`)."""

ATTACH_SK_LOOKUP: Final = 36
SO_NETNS_COOKIE: Final = 71

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long


class _MapElem(ctypes.Structure):
    _fields_ = (
        ("fd", ctypes.c_uint32),
        ("pad", ctypes.c_uint32),
        ("key", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
    )


class _Batch(ctypes.Structure):
    _fields_ = (
        ("in_batch", ctypes.c_uint64),
        ("out_batch", ctypes.c_uint64),
        ("keys", ctypes.c_uint64),
        ("values", ctypes.c_uint64),
        ("count", ctypes.c_uint32),
        ("fd", ctypes.c_uint32),
        ("elem_flags", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
    )


class _Obj(ctypes.Structure):
    _fields_ = (
        ("pathname", ctypes.c_uint64),
        ("fd", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
    )


class _Info(ctypes.Structure):
    _fields_ = (
        ("fd", ctypes.c_uint32),
        ("length", ctypes.c_uint32),
        ("info", ctypes.c_uint64),
    )


class _Link(ctypes.Structure):
    _fields_ = (
        ("prog_fd", ctypes.c_uint32),
        ("target_fd", ctypes.c_uint32),
        ("attach_type", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("extra", ctypes.c_uint64 * 4),
    )


class _TestRun(ctypes.Structure):
    _fields_ = (
        ("prog_fd", ctypes.c_uint32),
        ("retval", ctypes.c_uint32),
        ("data_size_in", ctypes.c_uint32),
        ("data_size_out", ctypes.c_uint32),
        ("data_in", ctypes.c_uint64),
        ("data_out", ctypes.c_uint64),
        ("repeat", ctypes.c_uint32),
        ("duration", ctypes.c_uint32),
        ("ctx_size_in", ctypes.c_uint32),
        ("ctx_size_out", ctypes.c_uint32),
        ("ctx_in", ctypes.c_uint64),
        ("ctx_out", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
        ("cpu", ctypes.c_uint32),
        ("batch_size", ctypes.c_uint32),
    )


def _bpf(command: int, attr: ctypes.Structure) -> int:
    result = int(_syscall(SYSCALL, command, ctypes.byref(attr), ctypes.sizeof(attr)))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def obj_get(path: str) -> int:
    """An fd for a pinned object."""
    name = ctypes.create_string_buffer(path.encode())
    return _bpf(OBJ_GET, _Obj(ctypes.addressof(name), 0, 0))


def link_create(program: int, target: int, attach_type: int) -> int:
    """Attach a program to a network namespace or cgroup; the link lives as long as its fd."""
    return _bpf(LINK_CREATE, _Link(program, target, attach_type, 0))


class RunResult(NamedTuple):
    """What a program answered to one packet."""

    action: int
    """The return value as a signed int: -1 is TC_ACT_UNSPEC."""
    mark: int
    """`skb->mark` afterwards."""
    duration_ns: int
    """The mean time of one run."""


def run_program(
    program: int,
    packet: bytes,
    *,
    mark: int = 0,
    ingress_ifindex: int = 0,
    gso_size: int = 0,
    repeat: int = 1,
) -> RunResult:
    """Run a tc program over one Ethernet frame (BPF_PROG_TEST_RUN), no interface needed.

    `repeat` runs see the same packet, changed by the runs before them.
    """
    data = ctypes.create_string_buffer(packet, len(packet))
    context = (ctypes.c_uint32 * 48)()
    context[2], context[9], context[44] = mark, ingress_ifindex, gso_size
    out = (ctypes.c_uint32 * 48)()
    attr = _TestRun(
        prog_fd=program,
        data_size_in=len(packet),
        data_in=ctypes.addressof(data),
        repeat=repeat,
        ctx_size_in=ctypes.sizeof(context),
        ctx_in=ctypes.addressof(context),
        ctx_size_out=ctypes.sizeof(out),
        ctx_out=ctypes.addressof(out),
    )
    _bpf(PROG_TEST_RUN, attr)
    action = ctypes.c_int32(attr.retval).value
    return RunResult(action, int(out[2]), int(attr.duration))


def netns_cookie() -> int:
    """The kernel's number of the network namespace this thread is in; 0 before Linux 5.14."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            raw = sock.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8)
        except OSError:
            return 0
    return int.from_bytes(raw, sys.byteorder)


def possible_cpus() -> int:
    """How many values a per-CPU element has."""
    with open("/sys/devices/system/cpu/possible", encoding="ascii") as file:
        last = file.read().strip().split(",")[-1].split("-")[-1]
    return int(last) + 1


class Map:
    """A pinned map. Keys and values are bytes; per-CPU values are a list, one per possible CPU."""

    def __init__(self, fd: int) -> None:
        info = (ctypes.c_uint32 * 64)()
        _bpf(GET_INFO_BY_FD, _Info(fd, ctypes.sizeof(info), ctypes.addressof(info)))
        self.fd = fd
        self.key_size, self.value_size, self.max_entries = info[2], info[3], info[4]
        self.cpus = possible_cpus() if info[0] in PERCPU_TYPES else 0
        slot = (self.value_size + 7) & ~7
        self._slot = slot
        self._key = ctypes.create_string_buffer(self.key_size)
        self._next = ctypes.create_string_buffer(self.key_size)
        self._value = ctypes.create_string_buffer(slot * max(1, self.cpus))
        key, value = ctypes.addressof(self._key), ctypes.addressof(self._value)
        self._elem = _MapElem(fd, 0, key, value, 0)
        self._gone = _MapElem(fd, 0, key, 0, 0)  # the kernel wants what it does not use to be zero
        self._step = _MapElem(fd, 0, key, ctypes.addressof(self._next), 0)

    @classmethod
    def open(cls, path: str) -> Map:
        """The map pinned at `path`."""
        return cls(obj_get(path))

    def close(self) -> None:
        """Give the fd back; the map lives on while it is pinned or used."""
        os.close(self.fd)

    def _set_key(self, key: bytes) -> None:
        if len(key) != self.key_size:
            raise ValueError(f"key of {len(key)} bytes for a map of {self.key_size}")
        self._key.raw = key

    def lookup(self, key: bytes) -> list[bytes] | None:
        """The values of a key, one per CPU (one in all for ordinary maps); None when absent."""
        self._set_key(key)
        try:
            _bpf(MAP_LOOKUP, self._elem)
        except FileNotFoundError:
            return None
        raw, size = self._value.raw, self.value_size
        return [raw[i * self._slot : i * self._slot + size] for i in range(max(1, self.cpus))]

    def update(self, key: bytes, value: bytes) -> None:
        """Set a key. Not for per-CPU maps, which only programs write."""
        self._set_key(key)
        if len(value) != self.value_size:
            raise ValueError(f"value of {len(value)} bytes for a map of {self.value_size}")
        ctypes.memmove(self._value, value, len(value))
        _bpf(MAP_UPDATE, self._elem)

    def update_socket(self, index: int, fd: int) -> None:
        """Put a socket into a SOCKMAP; it leaves by itself when it is closed."""
        key, value = ctypes.c_uint32(index), ctypes.c_uint64(fd)
        elem = _MapElem(self.fd, 0, ctypes.addressof(key), ctypes.addressof(value), 0)
        _bpf(MAP_UPDATE, elem)

    def update_many(self, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Set many keys with one system call where the map type can (Linux 5.6; LPM 5.18)."""
        if not keys:
            return
        all_keys = ctypes.create_string_buffer(b"".join(keys), len(keys) * self.key_size)
        all_values = ctypes.create_string_buffer(b"".join(values), len(values) * self.value_size)
        batch = _Batch(
            keys=ctypes.addressof(all_keys),
            values=ctypes.addressof(all_values),
            count=len(keys),
            fd=self.fd,
        )
        try:
            _bpf(MAP_UPDATE_BATCH, batch)
        except OSError:
            for key, value in zip(keys, values, strict=True):
                self.update(key, value)

    def delete(self, key: bytes) -> bool:
        """Remove a key; False when it was not there."""
        self._set_key(key)
        try:
            _bpf(MAP_DELETE, self._gone)
        except FileNotFoundError:
            return False
        return True

    def keys(self) -> Iterator[bytes]:
        """Every key, as far as a map that changes meanwhile can tell."""
        first = _MapElem(self.fd, 0, 0, ctypes.addressof(self._next), 0)
        try:
            _bpf(MAP_NEXT, first)
            while True:
                key = self._next.raw
                yield key
                self._key.raw = key
                _bpf(MAP_NEXT, self._step)
        except FileNotFoundError:
            return

    def replace(self, wanted: dict[bytes, bytes]) -> None:
        """Make the map hold exactly `wanted`: first what is new, then without what is gone."""
        present = set(self.keys())
        self.update_many(list(wanted), list(wanted.values()))
        for key in present - wanted.keys():
            self.delete(key)
