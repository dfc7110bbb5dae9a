"""One relay worker: listeners, tunnel and relay on one event loop, in a process of its own.

Composition root of the flow path. The supervisor hands it the configuration; the worker opens its
transparent sockets, puts them into the kernel's map of listeners, and from then on new flows
arrive. It publishes its counters into the map `workers` once a second, and decides by a new
configuration when the supervisor sends one: flows that exist live on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import signal
import socket
from typing import TYPE_CHECKING, Any, Final

import uvloop

from mihomo_tproxy.channel import Channel
from mihomo_tproxy.dataplane.abi import listener_slot
from mihomo_tproxy.dataplane.claims import Claims
from mihomo_tproxy.dataplane.stats import WorkerStats
from mihomo_tproxy.dataplane.tables import open_map
from mihomo_tproxy.dataplane.verdicts import KernelVerdicts
from mihomo_tproxy.errors import WorkerFailed
from mihomo_tproxy.group.failures import FailureWatch
from mihomo_tproxy.inbound.building import Listeners
from mihomo_tproxy.inbound.listener import open_tcp
from mihomo_tproxy.inbound.tproxy import TcpListener, UdpListener, open_udp
from mihomo_tproxy.limits import raise_open_files
from mihomo_tproxy.memory import trim
from mihomo_tproxy.messages import send_message
from mihomo_tproxy.model.fields import DSCP, NAMES_OBSERVED, PROCESS, UID
from mihomo_tproxy.net.gc_watch import GcWatch
from mihomo_tproxy.net.icmp import Unreachable
from mihomo_tproxy.net.pipes import PipePool
from mihomo_tproxy.net.reactor import Reactor
from mihomo_tproxy.net.relay import RelayContext, Timeouts
from mihomo_tproxy.net.resolve import SystemResolver
from mihomo_tproxy.net.tracker import Tracker
from mihomo_tproxy.outbound.env import OutboundEnv
from mihomo_tproxy.outbound.factory import build_outbounds
from mihomo_tproxy.rule.chain import steered_constants
from mihomo_tproxy.rule.engine import Engine
from mihomo_tproxy.rule.image import Image, map_image
from mihomo_tproxy.tunnel.tunnel import Tunnel

if TYPE_CHECKING:
    from mihomo_tproxy.config.schema import Config
    from mihomo_tproxy.messages import Setup
    from mihomo_tproxy.model.group_state import GroupState
    from mihomo_tproxy.outbound.registry import OutboundRegistry

log = logging.getLogger("worker")

PUBLISH_S: Final = 1.0
USED_S: Final = 10.0
"""The keeper hears at most this often which groups are used."""
DESCRIPTORS_PER_FLOW: Final = 5
"""The four sockets of a plain HTTP request (two for any other TCP flow), and a share for UDP."""
DESCRIPTORS_BESIDES: Final = 1024
"""Listeners, pipes, maps and the loop's own."""
LOOPBACK: Final = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


class Worker:
    """The objects of one relay worker."""

    def __init__(self, index: int, pins: str, loop: asyncio.AbstractEventLoop) -> None:
        self.channel: Channel | None = None
        """To the supervisor, once there is anything to say."""
        self._tell_used_at = 0.0
        self._failures: FailureWatch
        self._index = index
        self._pins = pins
        self._loop = loop
        self.tracker = Tracker()
        self.reactor = Reactor(loop)
        self.gc = GcWatch()
        self._pipes = PipePool()
        self._stats = WorkerStats(open_map(pins, "worker_stats"), index)
        self._claims = Claims(open_map(pins, "claims"))
        self.verdicts = KernelVerdicts(open_map(pins, "verdicts"))
        self._unreachable = Unreachable(self.reactor)
        self._context: RelayContext
        self._tunnel: Tunnel
        self._resolver: SystemResolver
        self._steered: list[TcpListener | UdpListener] = []
        self._listeners: Listeners

    def start(self, setup: Setup, image: Image) -> None:
        """Listen, and tell the kernel.

        Raises:
            WorkerFailed: an address is taken or not ours.
        """
        config: Config = pickle.loads(setup.config)  # noqa: S301 (the supervisor's)
        gateway = config.gateway
        self._make_room(gateway.max_flows)
        self._take_priority(gateway.nice)
        self._context = self._relay_context(config)
        self._resolver = SystemResolver(self._loop, config.hosts)
        self.verdicts.configure(setup.epoch, setup.masks)
        self._tunnel = Tunnel(
            self._context,
            self._resolver,
            steered_engine(image, config),
            self._outbounds(config, self._context, self._resolver, setup.state),
            self.verdicts,
            gateway.max_flows,
            gateway.udp_timeout,
            Engine(image, config.mode),
        )
        self.reactor.start()
        ipv6 = has_ipv6()
        for family in (socket.AF_INET, socket.AF_INET6) if ipv6 else (socket.AF_INET,):
            self._listen_steered(family)
        self._listeners = Listeners(
            self._context, self._tunnel, index=self._index, shared=gateway.workers > 1
        )
        self._listeners.start(config, ipv6=ipv6)
        self._look_closer()
        self._failures = FailureWatch(config.groups, self.tracker)
        self._publish()

    def _relay_context(self, config: Config) -> RelayContext:
        timeouts = Timeouts(idle=config.gateway.tcp_idle_timeout)
        return RelayContext(self.reactor, self._pipes, self.tracker, timeouts)

    def _take_priority(self, nice: int) -> None:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, nice)
        except OSError as error:
            log.info("worker %d: nice %d: %s", self._index, nice, error.strerror)

    def _make_room(self, flows: int) -> None:
        wanted = DESCRIPTORS_PER_FLOW * flows + DESCRIPTORS_BESIDES
        allowed = raise_open_files(wanted)
        if allowed < wanted:
            log.info(
                "worker %d: %d descriptors (ulimit -n) are too few for max-flows: %d",
                self._index, allowed, flows,
            )  # fmt: skip

    def _listen_steered(self, family: int) -> None:
        """Listeners that only the kernel's map leads to; loopback, so nobody else finds them."""
        listeners = open_map(self._pins, "listeners")
        host, v6 = LOOPBACK[socket.AddressFamily(family)], family == socket.AF_INET6
        tcp, udp = open_tcp(family, host, 0, transparent=True), open_udp(family, host, 0)
        for listener in (
            TcpListener(self.reactor, tcp, self._tunnel, self.tracker),
            UdpListener(self.reactor, udp, self._tunnel, self.tracker),
        ):
            listener.start()
            self._steered.append(listener)
        for sock, is_udp in ((tcp, False), (udp, True)):
            listeners.update_socket(listener_slot(self._index, udp=is_udp, v6=v6), sock.fileno())
        listeners.close()

    def _outbounds(
        self,
        config: Config,
        context: RelayContext,
        resolver: SystemResolver,
        state: GroupState,
    ) -> OutboundRegistry:
        interface, mark = config.interface_name, config.routing_mark
        env = OutboundEnv(context, resolver, self._unreachable, interface, mark)
        proxies, provided = config.proxies, config.provider_proxies
        return build_outbounds(proxies, env, config.groups, state, provided)

    def reload(self, setup: Setup, image: Image) -> None:
        """New flows meet the new rules from the next event on.

        All that may fail is built before anything is replaced.
        """
        config: Config = pickle.loads(setup.config)  # noqa: S301 (the supervisor's)
        context = self._relay_context(config)
        resolver = SystemResolver(self._loop, config.hosts)
        engine, named = steered_engine(image, config), Engine(image, config.mode)
        outbounds = self._outbounds(config, context, resolver, setup.state)
        self._context, self._resolver = context, resolver
        self._tunnel.resolver = resolver
        self._tunnel.engine, self._tunnel.named_engine = engine, named
        self._tunnel.outbounds = outbounds
        logging.getLogger().setLevel(config.log_level.number)
        self._failures = FailureWatch(config.groups, self.tracker)
        self._make_room(config.gateway.max_flows)
        self._take_priority(config.gateway.nice)
        self._tunnel.flow_limit = config.gateway.max_flows
        self._tunnel.nat.udp_timeout_s = config.gateway.udp_timeout
        self._listeners.reload(self._context, config, ipv6=has_ipv6())
        self._look_closer()
        self.verdicts.configure(setup.epoch, setup.masks)
        self.gc.freeze()

    def _look_closer(self) -> None:
        """Have only what rules ask for looked up: programs of this host, DSCP."""
        tunnel = self._tunnel
        if tunnel.owners is not None:
            tunnel.owners.close()
            tunnel.owners = None
        asked = tunnel.named_engine.fields
        if asked & (PROCESS | UID):
            from mihomo_tproxy.net.owner import OwnerFinder

            tunnel.owners = OwnerFinder(paths=bool(asked & PROCESS))
        for listener in self._steered:
            if isinstance(listener, UdpListener):
                listener.want_dscp(bool(asked & DSCP))

    def regroup(self, state: GroupState, epoch: int) -> None:
        """New flows go where the groups lead now."""
        self._tunnel.outbounds.regroup(state)
        self.verdicts.renew(epoch)

    def _publish(self) -> None:
        """Counters into the kernel's map, where `status` finds them."""
        self._loop.call_later(PUBLISH_S, self._publish)
        self._stats.publish(self._counters())
        self._tell_news()
        if self.tracker.tcp_live:
            self._claims.renew()

    def _tell_news(self) -> None:
        """What the keeper should know: which groups are used, which fail. No news is silence.

        Nor is there any for a supervisor that does not listen: it may be busy for minutes.
        """
        if self.channel is None or not self.channel.idle:
            return
        now = self._loop.time()
        if now >= self._tell_used_at:
            used = self._tunnel.outbounds.take_used()
            if used:
                self._tell_used_at = now + USED_S
                self.channel.send("used", used)
        for group in self._failures.look(now):
            self.channel.send("failures", group)

    def _counters(self) -> dict[str, int]:
        tracker = self.tracker
        counters = {
            "tcp-live": tracker.tcp_live,
            "udp-live": tracker.udp_live,
            "spliced-bytes": tracker.spliced,
            "datagrams-up": tracker.datagrams_up,
            "datagrams-down": tracker.datagrams_down,
            "verdicts-learnt": self.verdicts.learnt,
            "verdicts-failed": self.verdicts.failed,
            "handler-crashes": self.reactor.crashes,
            "gc-collections": self.gc.collections,
            "gc-collected": self.gc.collected,
            "gc-longest-us": round(self.gc.longest_s * 1e6),
        }
        for traffic in tracker.traffics():
            name = f"{traffic.network}:{traffic.target}"
            counters[f"opened:{name}"] = traffic.opened
            counters[f"closed:{name}"] = traffic.closed
            counters[f"up-bytes:{name}"] = traffic.up
            counters[f"down-bytes:{name}"] = traffic.down
        for cause, number in tracker.errors.items():
            counters[f"error:{cause}"] = number
        return counters

    def close(self) -> None:
        """End every flow and let go of everything."""
        for listener in self._steered:
            listener.close()
        self._listeners.close()
        self._tunnel.close()
        self._resolver.close()
        self.reactor.close()
        self._unreachable.close()
        self._pipes.close()


def steered_engine(image: Image, config: Config) -> Engine:
    """The rules for flows that the kernel steers to us."""
    constant = steered_constants(names_observed=NAMES_OBSERVED, local=config.gateway.local)
    return Engine(image, config.mode, constant=constant)


def has_ipv6() -> bool:
    """Whether IPv6 sockets can be bound here."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def run_worker(control: socket.socket, index: int, pins: str, setup: Setup, image: int) -> None:
    """Relay until SIGTERM or the supervisor's end."""
    uvloop.run(_serve(control, index, pins, setup, image))


async def _serve(control: socket.socket, index: int, pins: str, setup: Setup, image: int) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    worker = Worker(index, pins, loop)
    try:
        worker.start(setup, map_image(image))
    except (WorkerFailed, OSError) as error:
        send_message(control, ("error", str(error)))
        return
    del setup
    worker.gc.start()
    worker.gc.freeze()
    trim()
    channel = Channel(
        loop, control, lambda message: channel.send(*_answer(worker, message)), ended.set
    )
    channel.send("ready")
    worker.channel = channel
    await ended.wait()
    worker.close()


def _answer(worker: Worker, message: tuple[Any, ...]) -> tuple[Any, ...]:
    """Carry a message of the supervisor out; what to tell it then."""
    try:
        if message[0] == "groups":
            _, state, epoch = message
            worker.regroup(state, epoch)
            return ("regrouped", epoch)
        _, setup, descriptor = message
        worker.reload(setup, map_image(descriptor))
    except Exception as error:
        log.exception("the new configuration cannot be carried out")
        return ("refused", str(error))
    return ("reloaded", setup.epoch)
