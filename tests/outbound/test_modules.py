"""Types and their modules."""

from __future__ import annotations

from mihomo_tproxy.config.proxies import TYPES
from mihomo_tproxy.config.specs.base import ProxySpec
from mihomo_tproxy.outbound.modules import module_of, modules_of


def test_each_module_once_and_none_for_what_is_always_there():
    specs = [ProxySpec("a", "ss"), ProxySpec("b", "direct"), ProxySpec("c", "ss")]
    assert modules_of(specs) == ("mihomo_tproxy.outbound.shadowsocks",)


def test_every_type_but_the_built_in_ones_has_a_module():
    assert {kind for kind in TYPES if not module_of(kind)} == {"direct", "reject"}
