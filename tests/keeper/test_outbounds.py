"""Which outbound a name leads to."""

from __future__ import annotations

import asyncio

import pytest
from support.web import KeeperSide

from mihomo_tproxy.config.schema import Config, HostEntry
from mihomo_tproxy.config.specs.base import ProxySpec
from mihomo_tproxy.config.specs.group import GroupSpec, GroupType
from mihomo_tproxy.errors import FetchFailed
from mihomo_tproxy.keeper.outbounds import Outbounds
from mihomo_tproxy.model.group_state import EMPTY_STATE, GroupState
from mihomo_tproxy.rule.flatten import build_image
from mihomo_tproxy.rule.image import Image
from mihomo_tproxy.rule.registry import parse_rule


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
        assert (await it.through("s")("a.test", 80)).name == "s"
        assert (await it.through("")("a.test", 80)).name == "DIRECT"
        with pytest.raises(FetchFailed, match="nobody"):
            it.find("nobody")
        it.close()


RULES = (
    "IN-TYPE,SOCKS,REJECT",
    "DOMAIN,passed.test,s",
    "DOMAIN-SUFFIX,test,l",
    "IP-CIDR,127.0.0.0/8,a",
    "MATCH,b",
)


async def test_downloads_go_by_the_rules() -> None:
    """As a flow of our own: by name, by an address that is asked for, and past PASS."""
    groups = (
        GroupSpec("s", GroupType.SELECT, ("PASS",)),
        GroupSpec("l", GroupType.SELECT, ("a",)),
    )
    proxies = (ProxySpec("a", "direct"), ProxySpec("b", "direct"))
    config = Config(proxies=proxies, groups=groups, hosts={"here": HostEntry(("127.0.0.1",))})
    image = Image(build_image([parse_rule(line) for line in RULES], {"s", "l", "PASS"}))
    async with KeeperSide() as side:
        loop = asyncio.get_running_loop()
        it = Outbounds(config, loop, side.context, None, EMPTY_STATE, image)
        find = it.through("")
        hosts = ("x.test", "passed.test", "here", "127.0.0.9", "192.0.2.1")
        assert [(await find(host, 80)).name for host in hosts] == ["l", "l", "a", "a", "b"]
        it.close()
