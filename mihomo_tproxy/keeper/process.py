"""The keeper's process: what it is told, what it does about it, what it tells.

Up go `("ready",)`, `("state", GroupState)` when a choice changed, `("health", snapshot)` for those
who look, at most every two seconds, `("refreshed", names)` when files changed, and
`("answer", number, result)`, whose result has the key `error` when it failed. Down come
`("reload", config, state, image descriptor)`, `("select", group, member)`, `("used", groups)`,
`("failures", group)`, and what is answered: `("check", number, name, url, timeout_ms)`,
`("check-group", number, group)` and `("update", number, name)`.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import pickle
import signal
from typing import TYPE_CHECKING, Any, Final

import uvloop

from mihomo_tproxy.channel import Channel
from mihomo_tproxy.config.specs.group import GroupType
from mihomo_tproxy.errors import FetchFailed
from mihomo_tproxy.keeper.checks import Checks
from mihomo_tproxy.keeper.choices import Choices
from mihomo_tproxy.keeper.download import download
from mihomo_tproxy.keeper.downloads import Downloads
from mihomo_tproxy.keeper.health import Health, plans_of
from mihomo_tproxy.keeper.history import History, Sample
from mihomo_tproxy.keeper.http import USER_AGENT, Client
from mihomo_tproxy.keeper.outbounds import Outbounds
from mihomo_tproxy.keeper.probe import Result, probe
from mihomo_tproxy.keeper.sources import sources_of
from mihomo_tproxy.keeper.store import (
    SourceState,
    load_delays,
    load_selections,
    load_sources,
    save_delays,
    save_selection,
    save_source,
)
from mihomo_tproxy.keeper.tasks import Tasks
from mihomo_tproxy.keeper.watching import Watching, files_of
from mihomo_tproxy.memory import trim
from mihomo_tproxy.net.icmp import Unreachable
from mihomo_tproxy.net.pipes import PipePool
from mihomo_tproxy.net.reactor import Reactor
from mihomo_tproxy.net.relay import RelayContext, Timeouts
from mihomo_tproxy.net.tracker import Tracker
from mihomo_tproxy.rule.image import map_image

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Coroutine

    from mihomo_tproxy.config.schema import Config
    from mihomo_tproxy.keeper.sources import Source
    from mihomo_tproxy.model.group_state import GroupState
    from mihomo_tproxy.rule.image import Image

log = logging.getLogger("keeper")

CHOOSE_S: Final = 0.1
"""Results that come together are looked at together: each new choice costs verdicts."""
SHOW_S: Final = 2.0
SAVE_S: Final = 60.0
"""Between two times that delays are written to the disk."""
CHECK_MOST_MS: Final = 30_000


class Keeper:
    """Everything of one keeper, on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, home: str) -> None:
        """`home` has the store; "" keeps nothing over a restart."""
        self._loop = loop
        self._home = home
        self._reactor = Reactor(loop)
        self._pipes = PipePool(limit=0)
        timeouts = Timeouts(connect=10.0, handshake=15.0)
        self._context = RelayContext(self._reactor, self._pipes, Tracker(), timeouts)
        self._unreachable = Unreachable(self._reactor)
        self._client = Client(self._context)
        self._tasks = Tasks()
        self._history = History()
        self._checks = Checks(loop, self._history, self._probe)
        self._health = Health(loop, self._checks, self._on_sample)
        self._downloads = Downloads(self._refresh, lambda names: self._tell("refreshed", names))
        self._watching = Watching(loop, lambda names: self._tell("refreshed", names))
        self._states: dict[str, SourceState] = {}
        self._config: Config | None = None
        self._image: Image | None = None
        self._outbounds: Outbounds
        self._choices: Choices
        self._channel: Channel
        self._choosing: asyncio.TimerHandle | None = None
        self._showing: asyncio.TimerHandle | None = None
        self._saving: asyncio.TimerHandle | None = None

    def start(
        self, config: Config, state: GroupState, channel: Channel, image: Image | None = None
    ) -> None:
        """Go on from what is stored; test and download what is due.

        `image`: the rules, for downloads that name no outbound.
        """
        self._image = image
        self._channel = channel
        self._reactor.start()
        selected: dict[str, str] = {}
        if self._home:
            self._history.restore(self._stored(load_delays, []))
            selected = self._stored(load_selections, {})
        if config.home:
            self._states = self._stored(lambda _: load_sources(config.home), {})
        self._tell("ready")
        self._configure(config, state, selected)

    def take(self, message: tuple[Any, ...]) -> None:
        """What the supervisor says."""
        kind, *arguments = message
        if kind == "reload":
            config, state, image = arguments
            self._image = _mapped(image)
            new: Config = pickle.loads(config)  # noqa: S301 (the supervisor's)
            self._configure(new, state, self._choices.selected)
        elif kind == "select":
            self._select(*arguments)
        elif kind == "used":
            self._health.use(self._choices.used(arguments[0]))
        elif kind == "failures":
            self._health.check_now(arguments[0])
        elif kind in self._questions:
            number, *rest = arguments
            self._tasks.spawn(self._answer(number, self._questions[kind](self, *rest)))
        else:
            log.error("the supervisor says %r", kind)

    async def close(self) -> None:
        """End everything, and keep what should survive."""
        self._health.stop()
        self._watching.close()
        for timer in (self._choosing, self._showing, self._saving):
            if timer is not None:
                timer.cancel()
        await self._checks.close()
        await self._downloads.close()
        await self._tasks.close()
        self._save()
        self._channel.close()
        self._outbounds.close()
        self._reactor.close()
        self._unreachable.close()
        self._pipes.close()

    def _configure(self, config: Config, state: GroupState, selected: dict[str, str]) -> None:
        old, self._config = self._config, config
        logging.getLogger().setLevel(config.log_level.number)
        touched = changed_proxies(old, config)
        names = {spec.name for spec in (*config.proxies, *config.provider_proxies)}
        names |= {member for group in config.groups for member in group.members}
        self._history.retain(names - touched)
        self._checks.forget_times()
        # The old outbounds go with the last test or download that runs through them.
        self._client.user_agent = config.global_ua or USER_AGENT
        self._choices = Choices(config.groups, self._history, selected, state.now)
        self._outbounds = Outbounds(
            config,
            self._loop,
            self._context,
            self._unreachable,
            self._choices.state,
            self._image,
        )
        if self._choices.state != state:
            self._tell("state", self._choices.state)
        self._health.configure(plans_of(config), touched)
        self._downloads.configure(sources_of(config))
        self._watching.configure(files_of(config))

    # Tests and choices.

    async def _probe(self, name: str, url: str, timeout_s: float) -> Result:
        try:
            outbound = self._outbounds.find(name)
        except FetchFailed as error:
            return Result(0, 0, error.cause)
        unified = self._config is not None and self._config.unified_delay
        return await probe(self._client, outbound, url, timeout_s, unified=unified)

    def _on_sample(self) -> None:
        if self._choosing is None:
            self._choosing = self._loop.call_later(CHOOSE_S, self._choose)
        if self._showing is None:
            self._showing = self._loop.call_later(SHOW_S, self._show)
        if self._saving is None and self._home:
            self._saving = self._loop.call_later(SAVE_S, self._save_apart)

    def _choose(self) -> None:
        self._choosing = None
        if self._choices.refresh(self._health.busy):
            self._outbounds.follow(self._choices.state)
            self._tell("state", self._choices.state)

    def _select(self, group: str, member: str) -> None:
        try:
            self._choices.select(group, member)
        except ValueError as error:
            log.warning("%s", error)
            return
        spec = self._choices.group(group)
        checked = spec is not None and member and spec.type is not GroupType.SELECT
        if spec is not None and checked and not self._choices.alive(spec, member):
            timeout_s = spec.timeout_ms / 1000
            self._checks.request(member, spec.url, timeout_s, lambda *_: self._on_sample())
        self._choices.refresh()
        self._outbounds.follow(self._choices.state)
        self._tell("state", self._choices.state)

    def _show(self) -> None:
        self._showing = None
        if self._channel.idle:
            self._tell("health", self._history.snapshot())
        else:
            self._showing = self._loop.call_later(SHOW_S, self._show)

    # What is answered.

    async def _answer(self, number: int, work: Awaitable[dict[str, Any]]) -> None:
        try:
            result = await work
        except FetchFailed as error:
            result = {"error": str(error)}
        self._tell("answer", number, result)

    async def _check(self, name: str, url: str, timeout_ms: int) -> dict[str, Any]:
        self._outbounds.find(name)
        group = self._choices.group(name)
        url = url or (group.url if group else "") or self._url_of(name)
        sample = await self._test(name, url, min(max(timeout_ms, 1), CHECK_MOST_MS) / 1000)
        self._on_sample()
        if not sample.status:
            raise FetchFailed("no-answer", f"{name!r} does not reach {url}")
        return {"delay": sample.delay_ms, "status": sample.status}

    async def _check_group(self, name: str) -> dict[str, Any]:
        """All members; what was fixed is so no longer, as in mihomo."""
        group = self._choices.group(name)
        if group is None:
            raise FetchFailed("no-group", f"there is no group {name!r}")
        if group.type in (GroupType.URL_TEST, GroupType.FALLBACK):
            self._choices.select(name, "")
            if self._home:
                await self._write(lambda: save_selection(self._home, name, ""))
        url, timeout_s = group.url or self._url_of(name), group.timeout_ms / 1000
        samples = await asyncio.gather(
            *(self._test(member, url, timeout_s) for member in group.members)
        )
        self._on_sample()
        found = zip(group.members, samples, strict=True)
        return {"delays": {member: sample.delay_ms for member, sample in found}}

    async def _update(self, name: str) -> dict[str, Any]:
        files = files_of(self._config) if self._config is not None else {}
        if any(name in names for names in files.values()):
            self._tell("refreshed", (name,))
            return {"changed": True}
        return await self._downloads.update(name)

    _questions: Final[dict[str, Callable[..., Coroutine[Any, Any, dict[str, Any]]]]] = {
        "check": _check,
        "check-group": _check_group,
        "update": _update,
    }

    async def _test(self, name: str, url: str, timeout_s: float) -> Sample:
        done: asyncio.Future[Sample] = self._loop.create_future()

        def on_sample(_name: str, sample: Sample) -> None:
            if not done.done():
                done.set_result(sample)

        self._checks.request(name, url, timeout_s, on_sample)
        return await done

    def _url_of(self, name: str) -> str:
        """What to test a proxy with: as a group or provider does that has it, else mihomo's."""
        plans = plans_of(self._config) if self._config is not None else {}
        with_it = (plan.url for plan in plans.values() if name in plan.members)
        return next(with_it, "https://www.gstatic.com/generate_204")

    # Downloads and the store.

    async def _refresh(self, source: Source) -> bool:
        etags = self._config is not None and self._config.etag_support
        state = self._states.get(source.key, SourceState()) if etags else SourceState()
        find = self._outbounds.through(source.proxy)
        result = await download(self._client, find, source, state)
        if result.state != state and self._config is not None:
            self._states[source.key] = result.state
            home = self._config.home
            await self._write(lambda: save_source(home, source.key, result.state))
        return result.changed

    def _save_apart(self) -> None:
        self._saving = None
        stored, home = self._history.stored(), self._home
        self._tasks.spawn(self._write(lambda: save_delays(home, stored)))

    async def _write(self, work: Callable[[], None]) -> None:
        """In a thread: a disk may take its time."""
        try:
            await asyncio.to_thread(work)
        except OSError as error:
            log.error("cannot be stored: %s", error)

    def _save(self) -> None:
        if self._home and self._saving is not None:
            try:
                save_delays(self._home, self._history.stored())
            except OSError as error:
                log.error("cannot be stored: %s", error)

    def _stored(self, load: Callable[[str], Any], nothing: Any) -> Any:
        try:
            return load(self._home)
        except OSError as error:
            log.error("nothing is known of before: %s", error)
            return nothing

    def _tell(self, *message: Any) -> None:
        self._channel.send(*message)


def changed_proxies(old: Config | None, new: Config) -> set[str]:
    """Names that stand for another proxy than before, or for one that was not there."""
    if old is None:
        return set()
    before = {spec.name: spec for spec in (*old.proxies, *old.provider_proxies)}
    specs = (*new.proxies, *new.provider_proxies)
    return {spec.name for spec in specs if before.get(spec.name) != spec}


def run_keeper(
    control: socket.socket, config: bytes, state: GroupState, home: str, image: int = -1
) -> None:
    """Keep until SIGTERM or the supervisor's end; `image` is a descriptor of the rules' image."""
    uvloop.run(_serve(control, config, state, home, image))


def _mapped(descriptor: int) -> Image | None:
    """The rules' image behind a descriptor, which is closed; None if it got lost on the way."""
    if descriptor < 0:
        return None
    try:
        return map_image(descriptor)
    except OSError as error:
        log.warning("downloads go DIRECT for now: %s", error)
        return None


async def _serve(
    control: socket.socket, config: bytes, state: GroupState, home: str, image: int
) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    keeper = Keeper(loop, home)
    channel = Channel(loop, control, keeper.take, ended.set)
    new: Config = pickle.loads(config)  # noqa: S301 (the supervisor's)
    keeper.start(new, state, channel, _mapped(image))
    del config, new
    gc.collect()
    gc.freeze()
    trim()
    await ended.wait()
    await keeper.close()
