"""The gateway's parent process: brings the datapath up, keeps workers running, takes it all down.

Synchronous and small: it holds what must vanish with it (the sk_lookup link, the cgroup links) and
runs neither an event loop nor pyroute2 nor YAML; what needs those runs in short-lived children.
The workers' modules are loaded here, before the fork, only for the pages to be shared.
Its life: lock, load configuration, load BPF, fork workers, attach, then wait for signals (HUP
reloads, TERM and INT end it), for the network to change, for processes to die, for the keeper's
news (`keeping`) and for commands (`control`, `governing`).

Invariants: steering starts only after a worker listens; when anything fails on the way up, or at
the end, filters, rules, routes, pins and state are removed again.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import time
from typing import TYPE_CHECKING, Any, Final

from mihomo_tproxy import systemd
from mihomo_tproxy.children import run_in_child
from mihomo_tproxy.control import ControlServer, answer
from mihomo_tproxy.dataplane.claims import Claims, time_wait_sockets
from mihomo_tproxy.dataplane.events import ChangeMonitor
from mihomo_tproxy.dataplane.instance import Instance
from mihomo_tproxy.dataplane.links import attach_local, attach_lookup
from mihomo_tproxy.dataplane.tables import open_map, write_clients, write_settings
from mihomo_tproxy.errors import GatewayError, WorkerFailed
from mihomo_tproxy.governing import Groups
from mihomo_tproxy.keeping import Keeper
from mihomo_tproxy.memory import trim
from mihomo_tproxy.messages import Setup
from mihomo_tproxy.workers import Workers

if TYPE_CHECKING:
    from mihomo_tproxy.compiled import Compiled
    from mihomo_tproxy.dataplane.plan import Marking, Steered
    from mihomo_tproxy.model.enums import TunnelMode
    from mihomo_tproxy.model.group_state import GroupState

log = logging.getLogger("supervisor")

SETTLE_S: Final = 0.05
"""How long the network must be quiet before it is looked at again."""
SETTLE_MOST_S: Final = 1.0


class Supervisor:
    """One gateway in this network namespace."""

    def __init__(self, config: str, home: str = "") -> None:
        """`home`: the home directory; "" for the file's own."""
        self._config = config
        self._home = home
        self._instance = Instance()
        self._generation = 1
        self._epoch = 1
        self._image = -1
        self._touched = False
        self._started = time.time()
        self._links: list[int] = []
        self._compiled: Compiled
        self._marking: Marking
        self._workers: Workers
        self._groups = Groups()
        self._keeper = Keeper(self._let_go)
        self._control: ControlServer
        self._lan: tuple[str, ...] | None = None
        self._noted: set[int] = set()
        self._signals, self._signal_writer = socket.socketpair()
        self._signals.setblocking(False)
        self._signal_writer.setblocking(False)

    def run(self) -> None:
        """Run until told to stop.

        Raises:
            GatewayError: it could not start, or could not go on. Nothing is left behind.
        """
        self._instance.lock()
        try:
            self._start()
            self._loop()
        finally:
            self._stop()

    # Up and down.

    def _start(self) -> None:
        self._catch_signals()
        self._compiled, self._image = self._load_config()
        self._speak(self._compiled)
        self._groups.replace(self._compiled.groups, self._compiled.selected)
        instance, plan = self._instance, self._compiled.plan

        def prepare() -> Marking:
            from mihomo_tproxy.dataplane import kernel

            return kernel.prepare(instance, plan)

        self._touched = True
        self._marking = run_in_child(prepare, "loading the datapath")
        write_clients(instance.pins, plan)
        self._write_settings()
        if time_wait_sockets():
            claims = open_map(instance.pins, "claims")
            Claims(claims).renew()
            claims.close()
        self._create_links()
        monitor = ChangeMonitor()
        self._monitor = monitor
        self._workers = Workers(instance.pins, plan.workers, self._let_go)
        self._workers.modules = self._compiled.modules
        self._workers.setup, self._workers.image = self._setup(self._compiled), self._image
        self._workers.start()
        self._control = ControlServer(instance.control_path)
        self._report(self._synchronise(fresh=True))
        trim()
        log.info("ready: %d rules, %d workers", self._compiled.rules, plan.workers)
        systemd.notify("READY=1")

    def _load_config(self, mode: TunnelMode | None = None) -> tuple[Compiled, int]:
        """The configuration, with a descriptor of its rules' image; `mode` in place of its own."""
        path, home = self._config, self._home
        try:
            image = os.memfd_create("mihomo-tproxy-rules")
        except OSError as error:
            raise WorkerFailed(f"reading the configuration: {error.strerror}") from error

        def compile_config() -> Compiled:
            from mihomo_tproxy.config.compiling import compile_file

            return compile_file(path, home, image, mode)

        try:
            compiled = run_in_child(compile_config, "reading the configuration")
        except BaseException:
            os.close(image)
            raise
        return compiled, image

    def _speak(self, compiled: Compiled) -> None:
        """As loud as this configuration wants it, now that it is in force; first its oddities."""
        logging.getLogger().setLevel(compiled.log_level)
        for warning in compiled.warnings:
            log.warning("%s", warning)

    def _setup(self, compiled: Compiled) -> Setup:
        return Setup(compiled.worker, self._epoch, compiled.plan.masks, self._groups.state)

    def _write_settings(self) -> None:
        write_settings(
            self._instance.pins, self._compiled.plan, self._marking, self._generation, self._epoch
        )

    def _create_links(self) -> None:
        self._links.append(attach_lookup(self._instance.pins))
        if self._compiled.plan.local:
            self._links += attach_local(self._instance.pins)

    def _stop(self) -> None:
        """Filters and rules first, so that new flows go the kernel's way; then the relays.

        A start that failed before anything was touched leaves also a dead instance as it was.
        """
        if not self._touched:
            self._instance.unlock()
            return
        systemd.notify("STOPPING=1")

        def remove_all() -> list[str]:
            from mihomo_tproxy.dataplane import netlink

            return netlink.remove_all()

        try:
            run_in_child(remove_all, "removing filters and rules")
        except GatewayError as error:
            log.error("%s", error)
        self._keeper.stop()
        if hasattr(self, "_control"):
            self._control.close()
        if hasattr(self, "_workers"):
            self._workers.stop()
        for link in self._links:
            os.close(link)
        self._instance.remove()

    # The steady state.

    def _catch_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, self._note_signal)
        signal.set_wakeup_fd(self._signal_writer.fileno(), warn_on_full_buffer=False)

    def _note_signal(self, number: int, _frame: object) -> None:
        """The socket that wakes the loop has no room for the last ones of a storm."""
        self._noted.add(number)

    def _loop(self) -> None:
        while True:
            self._revive_keeper()
            ready = self._wait()
            if self._signals.fileno() in ready and self._handle_signals():
                return
            for descriptor in ready:
                self._workers.listen(descriptor)
            self._workers.revive()
            if self._keeper.reap():
                self._groups.abandon()
            if self._keeper.control is not None and self._keeper.control.fileno() in ready:
                self._hear_keeper()
            if self._control.fileno() in ready:
                self._take_command()
            if self._monitor.fileno() in ready:
                self._follow_network()
            self._pass_news_on()

    def _wait(self) -> set[int]:
        poller = select.poll()
        for each in (self._signals, self._monitor, self._control):
            poller.register(each, select.POLLIN)
        for descriptor in self._workers.controls():
            poller.register(descriptor, select.POLLIN)
        waits = [self._workers.next_start_ms()]
        if self._keeper.control is not None:
            poller.register(self._keeper.control, select.POLLIN)
        elif self._compiled.keeper:
            waits.append(int(self._keeper.wait_s() * 1000) + 1)
        known = [wait for wait in waits if wait is not None]
        return {fd for fd, _ in poller.poll(min(known) if known else None)}

    # The keeper, and what it tells.

    def _revive_keeper(self) -> None:
        if self._compiled.keeper and self._keeper.due():
            self._keeper.start(
                self._compiled.worker, self._groups.state, self._compiled.home, self._image
            )
        elif not self._compiled.keeper:
            self._keeper.stop()

    def _let_go(self) -> None:
        """In a forked child that lives long: close what is the supervisor's."""
        self._workers.close_controls()
        self._keeper.abandon()
        self._groups.forget_clients()
        self._monitor.close()
        if hasattr(self, "_control"):
            self._control.abandon()
        for link in self._links:
            os.close(link)

    def _hear_keeper(self) -> None:
        message = self._keeper.hear()
        if message is None:
            return
        if message[0] == "state":
            self._regroup(self._groups.decided(message[1]))
        elif message[0] == "health":
            self._groups.delays = message[1]
        elif message[0] == "answer":
            self._groups.answer(message[1], message[2])
        elif message[0] == "refreshed":
            log.info("refreshed: %s", ", ".join(message[1]))
            self._reload(self._compiled.mode)

    def _pass_news_on(self) -> None:
        news, self._workers.news = self._workers.news, []
        for message in news:
            self._keeper.tell(*message)

    def _regroup(self, state: GroupState) -> None:
        """The groups choose by this state: first the workers, then every older verdict is void."""
        if state == self._groups.state:
            return
        self._groups.state = state
        self._epoch += 1
        self._workers.regroup(state, self._epoch)
        self._write_settings()

    # Commands.

    def _take_command(self) -> None:
        accepted = self._control.accept()
        if accepted is None:
            return
        client, request = accepted
        try:
            result = self._govern(client, request)
        except GatewayError as error:
            result = {"error": str(error)}
        if result is not None:
            answer(client, result)

    def _govern(self, client: socket.socket, request: dict[str, Any]) -> dict[str, Any] | None:
        """Carry a command out; None: the keeper will answer."""
        command = request.get("command")
        groups = self._groups
        if command == "groups":
            return groups.report(self._compiled.mode)
        if command == "select":
            group, member = str(request.get("group", "")), str(request.get("member", ""))
            state = groups.selected(group, member)
            self._remember(group, member)
            self._keeper.tell("select", group, member)
            self._regroup(state)
            return {"ok": True}
        if command == "mode":
            mode = groups.mode_of(request.get("mode"))
            self._reload(mode, strict=True)
            return {"ok": True, "mode": str(self._compiled.mode)}
        if command == "reload":
            self._reload(strict=True)
            return {"ok": True, "rules": self._compiled.rules}
        if command in ("check", "check-group", "update"):
            if not self._compiled.keeper:  # nothing needs it all the time: it comes now, and stays
                self._compiled = self._compiled._replace(keeper=True)
                self._revive_keeper()
            groups.forward(client, self._keeper, command, request)
            return None
        raise GatewayError(f"unknown command {command!r}")

    def _remember(self, group: str, member: str) -> None:
        home = self._compiled.home
        if not home:
            return

        def save() -> None:
            from mihomo_tproxy.keeper.store import save_selection

            save_selection(home, group, member)

        try:
            run_in_child(save, "saving the selection")
        except GatewayError as error:
            log.error("%s", error)

    def _handle_signals(self) -> bool:
        """Whether to end."""
        try:
            self._signals.recv(1 << 16)
        except BlockingIOError:
            return False
        numbers, self._noted = self._noted, set()
        if numbers & {signal.SIGTERM, signal.SIGINT}:
            return True
        if signal.SIGHUP in numbers:
            self._reload()
        return False

    def _reload(self, mode: TunnelMode | None = None, *, strict: bool = False) -> None:
        """Read the file again; a file that fails changes nothing. Flows that exist live on.

        Raises:
            GatewayError: it failed, and `strict`; else that is logged.
        """
        systemd.notify("RELOADING=1")
        try:
            compiled, image = self._load_config(mode)
            kept = compiled.keep_fixed(self._compiled)
            if kept != compiled:
                log.warning(
                    "gateway.workers changes, and gateway.local begins, only with a restart"
                )
                compiled = kept
            self._switch(compiled, image)
            self._speak(compiled)
        except GatewayError as error:
            log.error("reload failed, the old configuration stays: %s", error)
            if strict:
                raise
        else:
            log.info("reloaded: %d rules, generation %d", compiled.rules, self._generation)
            trim()
        finally:
            systemd.notify("READY=1")

    def _switch(self, compiled: Compiled, image: int) -> None:
        """Tables of the next generation, then the workers, then the kernel's generation.

        Until the last step the kernel takes the new generation's entries for unknown, and asks the
        workers, who already decide by the new rules. What fails on the way leaves entries behind,
        of numbers that never come into force: the way back has its own.
        """
        old, self._compiled = self._compiled, compiled
        chosen = self._groups.replace(compiled.groups, compiled.selected)
        self._generation += 1
        self._epoch += 1
        try:
            self._report(self._synchronise(fresh=False))
            self._workers.modules = compiled.modules
            self._workers.reload(self._setup(compiled), image)
            write_clients(self._instance.pins, compiled.plan)
        except GatewayError:
            self._switch_back(old, chosen)
            os.close(image)
            raise
        else:
            os.close(self._image)
            self._image = image
            self._keeper.tell("reload", compiled.worker, self._groups.state, descriptor=image)
        finally:
            self._write_settings()

    def _switch_back(self, old: Compiled, chosen: GroupState) -> None:
        self._compiled = old
        self._groups.restore(old.groups, chosen)
        self._generation += 1
        self._epoch += 1
        self._workers.modules = old.modules
        self._workers.restore(self._setup(old), self._image)
        try:
            write_clients(self._instance.pins, old.plan)
            self._report(self._synchronise(fresh=False))
        except GatewayError as error:
            log.error("the old configuration's tables, for now without static verdicts: %s", error)

    def _follow_network(self) -> None:
        deadline = time.monotonic() + SETTLE_MOST_S
        while self._monitor.drain() and time.monotonic() < deadline:
            select.select([self._monitor], [], [], SETTLE_S)
        try:
            self._report(self._synchronise(fresh=False))
        except GatewayError as error:
            log.error("following the network: %s", error)

    def _synchronise(self, *, fresh: bool) -> Steered:
        pins, plan = self._instance.pins, self._compiled.plan
        marking, generation = self._marking, self._generation

        def synchronise() -> Steered:
            from mihomo_tproxy.dataplane import kernel

            return kernel.synchronise(pins, plan, marking, generation, fresh=fresh)

        return run_in_child(synchronise, "attaching to the network")

    def _report(self, steered: Steered) -> None:
        if steered.lan == self._lan:
            return
        self._lan = steered.lan
        self._instance.write_state(
            {
                "pid": os.getpid(),
                "config": self._config,
                "home": self._home,
                "mark": self._marking.mark,
                "table": self._marking.table,
                "started": self._started,
                "lan": self._lan,
            }
        )
        if steered.lan:
            log.info("steering %s", ", ".join(steered.lan))
        else:
            log.warning("no LAN interface is up: nothing is steered yet")
