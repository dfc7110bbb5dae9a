"""Which outbound a name leads to."""

from __future__ import annotations

import asyncio

import pytest
from support.web import KeeperSide

from mihomo_tproxy.config.schema import Config
from mihomo_tproxy.config.specs.base import ProxySpec
from mihomo_tproxy.config.specs.group import GroupSpec, GroupType
from mihomo_tproxy.errors import FetchFailed
from mihomo_tproxy.keeper.outbounds import Outbounds
from mihomo_tproxy.model.group_state import EMPTY_STATE, GroupState


def leads(outbounds, *names):
    return [outbounds.find(name).pick(None).name for name in names]


async def test_names_lead_to_outbounds():
    groups = (
        GroupSpec("s", GroupType.SELECT, ("u", "b")),
        GroupSpec("u", GroupType.URL_TEST, ("a", "b")),
        GroupSpec("l", GroupType.LOAD_BALANCE, ("a", "b")),
    )
    proxies, provided = (ProxySpec("a", "direct"),), (ProxySpec("b", "direct"),)
    config = Config(proxies=proxies, provider_proxies=provided, groups=groups)
    async with KeeperSide() as side:
        loop = asyncio.get_running_loop()
        it = Outbounds(config, loop, side.context, None, EMPTY_STATE)
        assert leads(it, "a", "b", "s", "u", "l", "DIRECT") == ["a", "b", "a", "a", "a", "DIRECT"]
        it.follow(GroupState({"s": "u", "u": "b"}, {"l": frozenset("a")}))
        assert leads(it, "s", "u", "l") == ["b", "b", "b"]
        it.follow(GroupState({"u": "gone"}, {}))
        assert leads(it, "s", "u") == ["a", "a"]
        assert it.through("s")("a.test", 80).name == "s"
        assert it.through("")("a.test", 80).name == "DIRECT"
        with pytest.raises(FetchFailed, match="nobody"):
            it.find("nobody")
        it.close()
