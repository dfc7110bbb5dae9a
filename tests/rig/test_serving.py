"""The pattern servers send."""

from __future__ import annotations

import hashlib
import zlib

import pytest

from mihomo_tproxy.rig.serving import BLOCK, pattern, pattern_sha256


@pytest.mark.parametrize("count", [0, 1, len(BLOCK) - 1, len(BLOCK), len(BLOCK) + 1, 300_000])
def test_digest_and_bytes_agree(count):
    data = pattern(count)
    assert len(data) == count
    assert hashlib.sha256(data).hexdigest() == pattern_sha256(count)


def test_a_lost_piece_shows():
    data = pattern(400_000)
    shorter = data[:65_536] + data[131_072:] + pattern(65_536)
    assert len(shorter) == len(data)
    assert shorter != data


def test_it_does_not_compress():
    assert len(zlib.compress(BLOCK)) > len(BLOCK) * 0.99
