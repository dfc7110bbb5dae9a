"""Layers driven as one."""

from __future__ import annotations

import pytest
from support.layers import Greeting, Lines, Windowed, Xor

from mihomo_tproxy.codec.layer import Layer
from mihomo_tproxy.errors import AuthenticationFailed, RemoteProtocolError
from mihomo_tproxy.transport.stack import Stack


def taken(stack: Stack) -> bytes:
    wire, stack.output = stack.output, b""
    return wire


def xored(data: bytes, key: int = 0x55) -> bytes:
    return bytes(byte ^ key for byte in data)


def test_no_layers_change_nothing():
    stack = Stack([])
    stack.begin()
    assert stack.ready
    assert stack.transparent
    assert stack.feed(b"x") == b"x"
    assert stack.seal(b"y") == b"y"
    assert stack.finish() == b""
    assert stack.ends_below


def test_payload_passes_all_layers_in_order():
    stack = Stack([Xor(1), Xor(2, b"H")])
    stack.begin()
    assert stack.ready
    assert not stack.transparent
    assert stack.seal(b"ab") == xored(b"H" + xored(b"ab", 2), 1)
    assert stack.feed(xored(xored(b"cd", 2), 1)) == b"cd"


def test_a_header_is_flushed_without_payload():
    stack = Stack([Xor(1), Xor(2, b"H")])
    stack.begin()
    assert stack.seal(b"") == xored(b"H", 1)
    assert stack.seal(b"") == b""


def test_a_layer_begins_when_the_one_below_is_ready():
    stack = Stack([Greeting(b"a", b"b"), Xor(), Greeting(b"c", b"d")])
    stack.begin()
    assert taken(stack) == b"a"
    assert stack.feed(b"b") == b""
    assert not stack.ready
    assert taken(stack) == xored(b"c")
    assert stack.feed(xored(b"dpay")) == b"pay"
    assert stack.ready
    assert not stack.transparent
    assert stack.seal(b"load") == xored(b"load")


@pytest.mark.parametrize("cut", range(1, 8))
def test_handshakes_and_payload_in_one_piece_or_cut(cut: int):
    wire = b"b" + b"dmore"
    stack = Stack([Greeting(b"a", b"b"), Greeting(b"c", b"d")])
    stack.begin()
    got = bytes(stack.feed(wire[:cut]))
    if wire[cut:]:
        got += bytes(stack.feed(wire[cut:]))
    assert got == b"more"
    assert taken(stack) == b"ac"
    assert stack.transparent
    assert stack.feed(b"x") == b"x"
    assert stack.seal(b"y") == b"y"


def test_data_of_the_upper_layer_behind_the_lower_ones_handshake():
    stack = Stack([Greeting(b"a", b"b"), Xor()])
    stack.begin()
    assert stack.feed(b"b" + xored(b"early")) == b"early"
    assert stack.ready


def test_the_end_in_band_ends_the_stack_and_is_told_to_those_above():
    stack = Stack([Lines(), Greeting()])
    stack.begin()
    with pytest.raises(RemoteProtocolError):
        stack.feed(b"wel.")
    assert stack.ended


def test_what_came_with_the_end_reaches_those_above_before_it():
    stack = Stack([Lines(), Greeting()])
    stack.begin()
    assert stack.feed(b"welcome\nlast.") == b"last"
    assert stack.ended
    assert stack.ready


def test_what_finish_says_and_whether_the_wire_ends():
    stack = Stack([Xor(), Lines()])
    stack.begin()
    assert stack.finish() == xored(b".")
    assert not stack.ends_below
    stack = Stack([Lines(), Xor()])
    stack.begin()
    assert stack.finish() == b"."
    assert not stack.ends_below


def test_an_end_that_cannot_be_told_stops_there():
    class Untold(Layer):
        ends_below = False

    stack = Stack([Lines(), Untold()])
    stack.begin()
    assert stack.finish() == b""
    assert not stack.ends_below


def test_eof_reaches_the_layers_that_began():
    stack = Stack([Greeting(), Greeting()])
    stack.begin()
    with pytest.raises(RemoteProtocolError):
        stack.feed_eof()


def test_blocked_while_one_layer_is():
    stack = Stack([Xor(), Windowed()])
    stack.begin()
    stack.feed(xored(b""))
    stack.feed(xored(b"+"))
    assert not stack.blocked
    stack.seal(b"x")
    assert stack.blocked
    assert stack.feed(xored(b"a+")) == b"a"
    assert not stack.blocked


def test_errors_of_layers_come_out():
    stack = Stack([Greeting()])
    stack.begin()
    with pytest.raises(AuthenticationFailed):
        stack.feed(b"go away")
