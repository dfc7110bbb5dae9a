"""Pipes are pooled, capped, and never lent with another flow's bytes inside."""

from __future__ import annotations

import os

import pytest

from mihomo_tproxy.net import pipes
from mihomo_tproxy.net.pipes import PipePool


@pytest.fixture
def pool():
    pool = PipePool(limit=2, spare=1)
    yield pool
    pool.close()


def test_returned_pipe_is_lent_again(pool):
    first = pool.take()
    pool.give_back(first)
    assert pool.take() is first
    pool.give_back(first)


def test_limit(pool):
    lent = [pool.take(), pool.take()]
    assert pool.take() is None
    assert pool.exhausted == 1
    for pipe in lent:
        pool.give_back(pipe)
    assert pool.alive == 1  # the spare one


def test_pipe_with_bytes_inside_is_destroyed(pool):
    pipe = pool.take()
    os.write(pipe.writer, b"secret")
    pipe.held = 6
    pool.give_back(pipe)
    assert pool.alive == 0
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(pipe.reader)


def test_no_descriptor_means_no_pipe(pool, monkeypatch):
    def refuse(flags):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(pipes.os, "pipe2", refuse)
    assert pool.take() is None
    assert (pool.alive, pool.exhausted) == (0, 1)


def test_refused_size_falls_back(pool, monkeypatch):
    real = pipes.fcntl.fcntl

    def limited(fd, command, argument=0):
        if command == pipes.fcntl.F_SETPIPE_SZ and argument > 1 << 18:
            raise PermissionError(1, "Operation not permitted")
        return real(fd, command, argument)

    monkeypatch.setattr(pipes.fcntl, "fcntl", limited)
    pipe = pool.take()
    assert pipe.size == 1 << 18
    pool.give_back(pipe)


def test_refused_sizes_leave_the_default(pool, monkeypatch):
    real = pipes.fcntl.fcntl

    def refuse(fd, command, argument=0):
        if command == pipes.fcntl.F_SETPIPE_SZ:
            raise PermissionError(1, "Operation not permitted")
        return real(fd, command, argument)

    monkeypatch.setattr(pipes.fcntl, "fcntl", refuse)
    pipe = pool.take()
    assert pipe.size > 0
    pool.give_back(pipe)


def test_after_close_pipes_are_not_kept(pool):
    pipe = pool.take()
    pool.close()
    pool.give_back(pipe)
    assert pool.alive == 0
