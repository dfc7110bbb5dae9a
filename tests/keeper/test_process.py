"""The keeper as its supervisor meets it: messages in, messages out, real servers behind."""

from __future__ import annotations

import asyncio
import pickle
import signal
import socket
import subprocess
import sys
from dataclasses import replace

import pytest
from support.web import Web, ok

from mihomo_tproxy.channel import Channel
from mihomo_tproxy.config.schema import Config
from mihomo_tproxy.config.specs.base import ProxySpec
from mihomo_tproxy.config.specs.group import GroupSpec, GroupType
from mihomo_tproxy.config.specs.provider import Format, RuleProviderSpec, Vehicle
from mihomo_tproxy.config.specs.socks5 import Socks5Spec
from mihomo_tproxy.keeper import process as module
from mihomo_tproxy.keeper.process import Keeper, changed_proxies
from mihomo_tproxy.keeper.store import load_delays, load_selections, save_selection
from mihomo_tproxy.messages import receive_message, send_message
from mihomo_tproxy.model.group_state import EMPTY_STATE

NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
ALIVE, ALSO = ProxySpec("alive", "direct"), ProxySpec("also", "direct")
GIVE_UP_S = 30


def dead():
    """A proxy whose server is not there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return Socks5Spec("dead", "socks5", server="127.0.0.1", port=taken.getsockname()[1])


class Supervisor:
    """A keeper on this loop, and the other end of its socket pair."""

    def __init__(self, home=""):
        self.loop = asyncio.get_running_loop()
        self.keeper = Keeper(self.loop, home)
        ours, theirs = socket.socketpair()
        self.sock = ours
        self.sock.settimeout(GIVE_UP_S)
        self.ended = asyncio.Event()
        self.channel = Channel(self.loop, theirs, self.keeper.take, self.ended.set)
        self.heard = []

    def start(self, config, state=EMPTY_STATE):
        self.keeper.start(config, state, self.channel)

    def tell(self, *message):
        send_message(self.sock, message)

    async def hear(self, kind):
        """The next message of this kind; others are left for later."""
        for message in self.heard:
            if message[0] == kind:
                self.heard.remove(message)
                return message[1:]
        while True:
            message = await asyncio.to_thread(receive_message, self.sock)
            if message[0] == kind:
                return message[1:]
            self.heard.append(message)

    async def close(self):
        await self.keeper.close()
        self.sock.close()


@pytest.fixture
async def supervisor(monkeypatch):
    monkeypatch.setattr(module, "SHOW_S", 0.05)
    made = []

    def make(home=""):
        made.append(Supervisor(home))
        return made[-1]

    yield make
    for each in made:
        await each.close()


def group(kind, members, url="", name="g", **options):
    options.setdefault("interval_s", 300 if url else 0)
    return GroupSpec(name, GroupType(kind), tuple(members), url=url, **options)


async def test_fallback_leaves_the_dead(supervisor):
    async with Web(NO_CONTENT) as web:
        it = supervisor()
        groups = (group("fallback", ["dead", "alive"], web.url()),)
        it.start(Config(proxies=(dead(), ALIVE), groups=groups))
        assert (await it.hear("state"))[0].now == {"g": "alive"}
        delays = {}
        while set(delays) != {"dead", "alive"}:
            (delays,) = await it.hear("health")
        assert await it.hear("ready") == ()
    assert delays["dead"][-1][1] == 0 < delays["alive"][-1][1]


async def test_load_balance_tells_the_dead(supervisor):
    async with Web(NO_CONTENT) as web:
        it = supervisor()
        groups = (group("load-balance", ["dead", "alive"], web.url()),)
        it.start(Config(proxies=(dead(), ALIVE), groups=groups))
        while (await it.hear("state"))[0].dead != {"g": {"dead"}}:
            pass


async def test_a_group_is_tested_through_its_pick(supervisor):
    async with Web(NO_CONTENT) as web:
        it = supervisor()
        inner = group("select", ["dead", "alive"], name="inner")
        it.start(
            Config(
                proxies=(dead(), ALIVE),
                groups=(inner, group("fallback", ["inner", "alive"], web.url())),
            )
        )
        while (await it.hear("state"))[0].now != {"g": "alive"}:
            pass
        it.tell("select", "inner", "alive")
        it.tell("check-group", 7, "g")
        number, result = await it.hear("answer")
        assert number == 7
        assert set(result["delays"]) == {"inner", "alive"}
        assert all(result["delays"].values())
        while (await it.hear("state"))[0].now != {"inner": "alive", "g": "inner"}:
            pass


async def test_select_is_told_back(supervisor):
    it = supervisor()
    it.start(Config(proxies=(ALIVE, ALSO), groups=(group("select", ["alive", "also"]),)))
    await it.hear("ready")
    it.tell("select", "g", "nobody")
    it.tell("select", "g", "also")
    while (await it.hear("state"))[0].now != {"g": "also"}:
        pass


async def test_questions(supervisor):
    async with Web(NO_CONTENT) as web:
        it = supervisor()
        it.start(Config(proxies=(dead(), ALIVE)))
        it.tell("check", 1, "alive", web.url(), 5000)
        number, result = await it.hear("answer")
        assert (number, result["status"]) == (1, 204)
        assert result["delay"] > 0
        for number, (kind, *arguments) in enumerate(
            [
                ("check", "dead", web.url(), 5000),
                ("check", "nobody", web.url(), 5000),
                ("check", "alive", "nonsense", 5000),
                ("check-group", "nobody"),
                ("update", "nobody"),
            ]
        ):
            it.tell(kind, number, *arguments)
            answered, result = await it.hear("answer")
            assert (answered, list(result)) == (number, ["error"])


async def test_failures_are_looked_into(supervisor):
    async with Web(NO_CONTENT) as web:
        it = supervisor()
        it.start(
            Config(
                proxies=(ALIVE,), groups=(group("url-test", ["alive"], web.url(), interval_s=0),)
            )
        )
        await it.hear("ready")
        assert not web.requests
        it.tell("used", ("g",))
        it.tell("failures", "g")
        await it.hear("health")
        assert len(web.requests) == 1


async def test_reload(supervisor):
    async with Web(NO_CONTENT) as web:
        it = supervisor()
        groups = (group("url-test", ["alive", "also"], web.url()),)
        before = Config(proxies=(ALIVE, ALSO), groups=groups)
        it.start(before)
        await it.hear("health")
        assert len(web.requests) == 2
        state = it.keeper._choices.state
        it.tell("reload", pickle.dumps(before), state, GONE)
        it.tell("check", 1, "alive", web.url("/other"), 5000)
        await it.hear("answer")
        assert len(web.requests) == 3  # nothing is new: only what was asked for
        after = Config(proxies=(ALIVE,), groups=(group("url-test", ["alive"], web.url()),))
        it.tell("reload", pickle.dumps(after), state, GONE)
        while "also" in (await it.hear("health"))[0]:
            pass
        assert len(web.requests) == 4


async def test_download_is_told(supervisor, tmp_path):
    async with Web(ok(b"+.a.test\n")) as web:
        it = supervisor(str(tmp_path))
        path = tmp_path / "rules.txt"
        provider = RuleProviderSpec(
            "r", Vehicle.HTTP, str(path), web.url(), 3600, format=Format.TEXT
        )
        config = Config(rule_providers=(provider,), home=str(tmp_path))
        it.start(config)
        assert await it.hear("refreshed") == (("r",),)
        assert path.read_text() == "+.a.test\n"
        it.tell("reload", pickle.dumps(config), EMPTY_STATE, GONE)
        it.tell("update", 5, "r")
        assert await it.hear("answer") == (5, {"changed": False})
        assert len(web.requests) == 2


async def test_what_survives_a_restart(supervisor, tmp_path):
    home = str(tmp_path)
    save_selection(home, "g", "also")
    async with Web(NO_CONTENT) as web:
        groups = (group("url-test", ["alive", "also"], web.url()),)
        config = Config(proxies=(ALIVE, ALSO), groups=groups, home=home)
        first = supervisor(home)
        first.start(config)
        assert (await first.hear("state"))[0].now == {"g": "also"}
        await first.hear("health")
        first.tell("check-group", 1, "g")
        await first.hear("answer")
    await first.keeper.close()
    assert load_selections(home) == {}
    assert {each.proxy for each in load_delays(home)} == {"alive", "also"}
    second = supervisor(home)
    second.start(config)
    assert set(second.keeper._history.snapshot()) == {"alive", "also"}


async def test_file_is_read_again_when_asked(supervisor, tmp_path):
    provider = RuleProviderSpec("r", Vehicle.FILE, str(tmp_path / "rules.txt"))
    it = supervisor()
    it.start(Config(rule_providers=(provider,), home=str(tmp_path)))
    it.tell("update", 1, "r")
    assert await it.hear("refreshed") == (("r",),)
    assert await it.hear("answer") == (1, {"changed": True})


async def test_how_downloads_ask(supervisor, tmp_path):
    async with Web(ok(b"+.a.test\n", 'ETag: "1"')) as web:
        path = str(tmp_path / "rules.txt")
        provider = RuleProviderSpec("r", Vehicle.HTTP, path, web.url(), format=Format.TEXT)
        config = Config(rule_providers=(provider,), home=str(tmp_path), global_ua="mine/1")
        it = supervisor()
        it.start(config)
        await it.hear("refreshed")
        it.tell("update", 1, "r")
        await it.hear("answer")
        it.tell("reload", pickle.dumps(replace(config, etag_support=False)), EMPTY_STATE, GONE)
        it.tell("update", 2, "r")
        await it.hear("answer")
    assert all("User-Agent: mine/1\r\n" in request for request in web.requests)
    assert ["If-None-Match" in request for request in web.requests] == [False, True, False]


def test_changed_proxies():
    before = Config(proxies=(ALIVE, ALSO))
    after = Config(proxies=(ALIVE, ProxySpec("also", "direct", routing_mark=5), dead()))
    assert changed_proxies(None, after) == set()
    assert changed_proxies(before, after) == {"also", "dead"}


GONE = -1
"""An image that got lost: downloads that name no outbound go DIRECT."""

CHILD = """
import pickle, socket, sys
from mihomo_tproxy.config.schema import Config
from mihomo_tproxy.keeper.process import run_keeper
from mihomo_tproxy.model.group_state import EMPTY_STATE
control = socket.socket(fileno=int(sys.argv[1]))
run_keeper(control, pickle.dumps(Config()), EMPTY_STATE, "")
"""


@pytest.mark.parametrize("end", ["signal", "supervisor"])
def test_process(end):
    """It lives until it is told to end, or nobody is there any more."""
    ours, theirs = socket.socketpair()
    ours.settimeout(GIVE_UP_S)
    number = theirs.fileno()
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(number)], pass_fds=[number])
    theirs.close()
    assert receive_message(ours) == ("ready",)
    if end == "signal":
        child.send_signal(signal.SIGTERM)
    ours.close()
    assert child.wait(GIVE_UP_S) == 0
