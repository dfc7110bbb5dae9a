"""`vless://`."""

from __future__ import annotations

from base64 import b64encode

from mihomo_tproxy.provider.links.names import Names
from mihomo_tproxy.provider.links.vless import convert


def test_flow_and_encryption() -> None:
    proxy = convert("vless://id@a.test:1?flow=XTLS-rprx-vision&encryption=none#n", Names())
    assert proxy["flow"] == "xtls-rprx-vision"
    assert proxy["encryption"] == "none"
    assert proxy["type"] == "vless"


def test_neither() -> None:
    assert not {"flow", "encryption"} & convert("vless://id@a.test:1", Names()).keys()


def test_address_in_base64() -> None:
    proxy = convert(f"vless://id@{b64encode(b'a.test:44').decode()}#n", Names())
    assert (proxy["uuid"], proxy["server"], proxy["port"]) == ("id", "a.test", "44")
