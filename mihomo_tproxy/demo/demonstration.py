"""The demonstration's life: rig up, gateway up, the cases, traffic that goes on, all down.

    with Demonstration() as demonstration:
        rows = demonstration.run()

Invariants: it touches nothing outside the namespaces it makes; leaving the block removes them, the
gateway and its pins, whatever happened inside, and the rig's guardian does when this process is
killed.
"""

from __future__ import annotations

import sys
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from mihomo_tproxy.config import parse
from mihomo_tproxy.dataplane.instance import Instance
from mihomo_tproxy.demo.counters import Counters, difference, prove
from mihomo_tproxy.demo.flows import echo, fetch
from mihomo_tproxy.demo.scenario import CASES, CONFIG, SMALL_BYTES, Answer, Way
from mihomo_tproxy.errors import RigError
from mihomo_tproxy.model.enums import InboundType, Network
from mihomo_tproxy.model.fields import NAMES_OBSERVED
from mihomo_tproxy.model.metadata import Metadata
from mihomo_tproxy.rig import Rig, host
from mihomo_tproxy.rig.rig import module_environment
from mihomo_tproxy.rule.chain import steered_constants
from mihomo_tproxy.rule.engine import Engine
from mihomo_tproxy.rule.flatten import build_image
from mihomo_tproxy.rule.image import Image

if TYPE_CHECKING:
    from types import TracebackType

    from mihomo_tproxy.demo.counters import Routes
    from mihomo_tproxy.demo.flows import Outcome
    from mihomo_tproxy.demo.scenario import Case
    from mihomo_tproxy.rig import Node, Process

READY_S: Final = 60.0
STOP_S: Final = 20.0
STEP_S: Final = 15.0
SILENCE_S: Final = 0.4
"""How long a client waits for an answer that must not come; a SYN is repeated after one second."""
PUBLISHED_S: Final = 4.0
"""Workers publish once a second; on a busy machine it takes longer until they do."""
PAUSE_S: Final = 0.2
"""Between two flows of the traffic that goes on."""


@dataclass(frozen=True, slots=True)
class Row:
    """One case, and what became of it."""

    title: str
    client: str
    source: str
    destination: str
    port: int
    family: int
    """4 or 6."""
    network: str
    rule: str
    """The rule that decides this flow, as the engine says; as written in the file."""
    target: str
    way: str
    """Where the counters say it went."""
    expected: str
    counted: str
    answer: str
    received: int
    mbit_per_s: float | None
    latency_ms: float | None
    ok: bool
    """The way and the client's answer are the expected ones."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(slots=True)
class _Sent:
    """A case that was sent, before its proof is complete."""

    case: Case
    source: Node
    destination: str
    outcome: Outcome
    routes: Routes


class Demonstration:
    """A context manager: everything up on entry, everything gone on exit."""

    def __init__(self) -> None:
        config = parse(CONFIG)
        image = Image(build_image(config.rules))
        constant = steered_constants(names_observed=NAMES_OBSERVED)
        self._engine = Engine(image, config.mode, constant=constant)
        self._rig = Rig.standard(clients=2)
        self._gateway: Process
        self.counters: Counters
        """Of the gateway."""
        self._stack = ExitStack()

    def __enter__(self) -> Demonstration:
        with ExitStack() as stack:
            self._rig.up()
            stack.callback(self._take_down)
            _ = self._rig.servers
            self._gateway = self._start_gateway()
            # Also when it is told to stop while it starts: it cleans up after itself.
            stack.callback(self._gateway.stop, STOP_S)
            self._gateway.wait_for_line(r"\[supervisor\] ready", READY_S)
            self.counters = Counters(self._instance().pins)
            stack.callback(self.counters.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _instance(self) -> Instance:
        return Instance(str(host.netns_path(self._rig.gateway.netns)))

    def _start_gateway(self) -> Process:
        rig = self._rig
        instance = self._instance()
        for pins in (instance.pins, instance.new_pins):
            rig.register_pin(pins)
        path = rig.gateway.directory / "config.yaml"
        path.write_text(CONFIG, encoding="utf-8")
        return rig.gateway.start(
            [sys.executable, "-m", "mihomo_tproxy", "run", "-f", str(path)],
            env=module_environment(),
        )

    def _take_down(self) -> None:
        problems = self._rig.down()
        if problems:
            raise RigError("; ".join(problems))

    @property
    def gateway_netns(self) -> str:
        """The gateway's namespace, for `ip netns` and nsenter."""
        return self._rig.gateway.netns

    # The table.

    def run(self) -> list[Row]:
        """Send every case, IPv4 first; one row for each.

        The cases of one family use different counters of the worker, or none, so that one wait
        for what it publishes serves them all.
        """
        rows: list[Row] = []
        for family in (4, 6):
            before = self.counters.workers()
            sent = [self._send(case, family) for case in CASES]
            growth = self._wait_for_workers(before)
            rows += [self._row(each, growth.get(each.case.counter, 0)) for each in sent]
        return rows

    def _send(self, case: Case, family: int) -> _Sent:
        client = self._rig.clients[case.client]
        address = client.address(family)
        destination = self._rig.destination(case.host, family)
        before = self.counters.client(address)
        timeout = SILENCE_S if case.answer is Answer.SILENCE else STEP_S
        if case.network is Network.TCP:
            outcome = fetch(client, destination, case.port, case.size, timeout)
        else:
            outcome = echo(client, destination, case.port, timeout)
        routes = difference(self.counters.client(address), before)
        return _Sent(case, client, destination, outcome, routes)

    def _wait_for_workers(self, before: dict[str, int]) -> dict[str, int]:
        """By how much the workers' counters have grown, once they show every case or time is up."""
        deadline = time.monotonic() + PUBLISHED_S
        while True:
            now = self.counters.workers()
            growth = {name: value - before.get(name, 0) for name, value in now.items()}
            complete = all(growth.get(c.counter, 0) >= c.growth for c in CASES if c.counter)
            if complete or time.monotonic() > deadline:
                return growth
            time.sleep(0.05)

    def _row(self, sent: _Sent, growth: int) -> Row:
        case, outcome = sent.case, sent.outcome
        family = 6 if ":" in sent.destination else 4
        source = sent.source.address(family)
        decision = self._engine.match(
            Metadata(
                case.network, InboundType.TPROXY, source, 0, sent.destination, case.port
            )
        )  # fmt: skip
        proof = prove(case, sent.routes, growth)
        rate = outcome.received * 8 / outcome.seconds / 1e6 if outcome.seconds else None
        return Row(
            title=case.title,
            client=sent.source.name,
            source=source,
            destination=sent.destination,
            port=case.port,
            family=family,
            network=str(case.network),
            rule=self._engine.line(decision.rank) if decision.rank >= 0 else "",
            target=decision.target,
            way=str(proof.way),
            expected=str(case.way),
            counted=proof.counted,
            answer=str(outcome.answer),
            received=outcome.received,
            mbit_per_s=round(rate, 1) if rate and case.way is not Way.RELAY else None,
            latency_ms=None if outcome.latency_s is None else round(outcome.latency_s * 1e3, 3),
            ok=proof.way is case.way and outcome.answer is case.answer,
        )

    # Afterwards.

    def start_traffic(self) -> None:
        """A little of everything from both clients, until the block is left."""
        ended = threading.Event()
        thread = threading.Thread(target=self._keep_sending, args=(ended,), daemon=True)
        thread.start()

        def stop() -> None:
            ended.set()
            thread.join(STEP_S)

        self._stack.callback(stop)

    def _keep_sending(self, ended: threading.Event) -> None:
        rig = self._rig
        number = 0
        while not ended.wait(PAUSE_S):
            number += 1
            family = 4 if number % 2 else 6
            near, far = rig.clients[number % 2], rig.clients[(number + 1) % 2]
            with suppress(OSError, RigError):
                fetch(near, rig.destination(3, family), 80, 20 * SMALL_BYTES, 1)
                fetch(far, rig.destination(130, family), 80, 20 * SMALL_BYTES, 1)
                echo(near, rig.destination(131, family), 7, 1)
                if not number % 5:
                    fetch(far, rig.destination(202, family), 25, SMALL_BYTES, 1)

    def check(self) -> None:
        """Raises RigError, with what it printed, when the gateway has ended."""
        if not self._gateway.running:
            raise RigError(f"the gateway ended:\n{self._gateway.output.strip()[-2000:]}")
