"""The KDF, against v2ray's own value and against HMACs nested in so many words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.vmess_server import kdf

from mihomo_tproxy.codec.vmess.kdf import Kdf, Tail

parts = st.binary(max_size=64)


def test_the_value_v2ray_tests_its_own_with() -> None:
    """github.com/v2fly/v2ray-core, proxy/vmess/aead/kdf_test.go."""
    path = [b"Demo Path for KDF Value Test", b"Demo Path for KDF Value Test2"]
    tail = Tail.of(path[1], b"Demo Path for KDF Value Test3")
    expected = "53e9d7e1bd7bd25022b71ead07d8a596efc8a845c7888652fd684b4903dc8892"
    assert Kdf(path[0]).derive_along(b"Demo Key for KDF Value Test", tail).hex() == expected


@given(parts, parts, parts, st.binary(max_size=200))
def test_every_path(salt: bytes, second: bytes, third: bytes, key: bytes) -> None:
    derivation = Kdf(salt)
    assert derivation.derive(key) == kdf(key, salt)
    tail = Tail.of(second, third)
    assert derivation.derive_along(key, tail) == kdf(key, salt, second, third)
    assert derivation.derive(key) == kdf(key, salt)
