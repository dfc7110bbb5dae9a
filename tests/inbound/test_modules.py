"""What is loaded for which listeners."""

from __future__ import annotations

from importlib import import_module

import pytest

from mihomo_tproxy.config import parse
from mihomo_tproxy.inbound.modules import CLIENT_MODULE, modules_of


@pytest.mark.parametrize(
    ("text", "modules"),
    [
        ("{}", ()),
        ("redir-port: 1\ntproxy-port: 2", ()),
        ("redir-port: 1\nport: 2\nmixed-port: 3", (CLIENT_MODULE,)),
        ("socks-port: 1", (CLIENT_MODULE,)),
    ],
)
def test_modules(text, modules):
    assert modules_of(parse(text).listeners) == modules


def test_they_exist():
    assert callable(import_module(CLIENT_MODULE).Inbound)
