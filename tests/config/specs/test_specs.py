"""What is secret in an entry is not in its text."""

from __future__ import annotations

import pytest

from mihomo_tproxy.config.specs.http import HttpProxySpec
from mihomo_tproxy.config.specs.shadowsocks import ShadowsocksSpec
from mihomo_tproxy.config.specs.socks5 import Socks5Spec
from mihomo_tproxy.config.specs.tls import TlsSpec
from mihomo_tproxy.config.specs.trojan import TrojanSpec
from mihomo_tproxy.config.specs.vless import VlessSpec
from mihomo_tproxy.config.specs.vmess import VmessSpec


@pytest.mark.parametrize("kind", [HttpProxySpec, ShadowsocksSpec, Socks5Spec, TrojanSpec])
def test_passwords(kind):
    assert "hunter2" not in repr(kind("name", "type", password="hunter2"))  # noqa: S106


@pytest.mark.parametrize("kind", [VlessSpec, VmessSpec])
def test_user_ids(kind):
    assert "hunter2" not in repr(kind("name", "type", uuid=b"hunter2"))


def test_private_keys():
    assert "hunter2" not in repr(TlsSpec(private_key="hunter2"))
