"""Tags on and off a frame."""

from __future__ import annotations

import struct

import pytest

from mihomo_tproxy.rig.vlan import add_tag, tag_of


def test_the_tag_stands_between_addresses_and_type():
    frame = bytes(range(12)) + b"\x08\x00payload"
    assert add_tag(frame, 0x123) == bytes(range(12)) + b"\x81\x00\x01\x23\x08\x00payload"


@pytest.mark.parametrize(
    ("status", "tci", "expected"), [(0x11, 0x2005, 5), (0x01, 5, None), (0x10, 0, 0)]
)
def test_the_kernel_reports_the_tag_beside_the_frame(status, tci, expected):
    auxdata = struct.pack("=IIIHHHH", status, 60, 60, 0, 0, tci, 0x8100)
    assert tag_of(auxdata) == expected
