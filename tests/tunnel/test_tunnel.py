"""The tunnel: what the rules are asked, what the kernel is told, what a reload changes."""

from __future__ import annotations

import itertools
import socket

import pytest
from support.engines import engine_of
from support.flows import metadata
from support.loopback import FixedEngine, RelayRig, readable
from support.proxies import built

from mihomo_tproxy.config.specs.base import ProxySpec
from mihomo_tproxy.config.specs.group import GroupSpec, GroupType
from mihomo_tproxy.model.enums import Network, TunnelMode, Verdict
from mihomo_tproxy.model.fields import DST_ADDR, DST_PORT, NETWORK
from mihomo_tproxy.model.metadata import Decision
from mihomo_tproxy.outbound.registry import OutboundRegistry
from mihomo_tproxy.rule.registry import parse_rule
from mihomo_tproxy.rule.static import masks


class Notebook:
    """A verdict map that writes down what it is taught."""

    def __init__(self):
        self.learnt = []

    def learn(self, metadata, depends, verdict):
        self.learnt.append((repr(metadata), depends, verdict))
        return True


def test_rules_see_both_ends_of_the_flow():
    with RelayRig() as rig:
        client, _server = rig.pair()
        (metadata,) = rig.engine.asked
        assert metadata.network is Network.TCP
        assert (metadata.source, metadata.source_port) == client.getsockname()
        assert (metadata.destination, metadata.destination_port) == rig.destination


def test_direct_is_learnt_with_what_it_depends_on():
    with RelayRig() as rig:
        rig.engine = rig.tunnel.engine = FixedEngine(depends=DST_ADDR)
        rig.tunnel.verdicts = notebook = Notebook()
        rig.pair()
        ((_, depends, verdict),) = notebook.learnt
        assert (depends, verdict) == (DST_ADDR, Verdict.DIRECT)


def test_direct_by_an_interface_of_its_own_is_not_learnt():
    with RelayRig() as rig:
        rig.tunnel.verdicts = notebook = Notebook()
        rig.tunnel.outbounds = OutboundRegistry([rig.direct("DIRECT", interface_name="lo")])
        rig.connect()
        rig.turn_until(lambda: rig.tracker.snapshot()["targets"][0]["opened"] == 1)
        assert notebook.learnt == []


def test_unknown_target_resets_and_counts():
    with RelayRig() as rig:
        rig.engine.decision = rig.engine.decision._replace(target="nowhere")
        client = rig.connect()
        rig.turn_until(lambda: rig.tracker.errors != {})
        assert rig.tracker.errors == {"no-outbound": 1}
        with pytest.raises(ConnectionResetError):
            client.recv(1)


class Deaf:
    """A group with `disable-udp`."""

    name, verdict, udp, passes = "group", Verdict.UNKNOWN, False, False

    def __init__(self, choice):
        self._choice = choice

    def pick(self, metadata):
        return self._choice


@pytest.mark.parametrize(("network", "chosen"), [(Network.TCP, "choice"), (Network.UDP, "next")])
def test_datagrams_pass_over_a_group_that_takes_none(network, chosen):
    with RelayRig() as rig:
        group = Deaf(rig.direct("choice"))
        rig.tunnel.outbounds = OutboundRegistry([group, rig.direct("next")])
        engine = rig.tunnel.named_engine = FixedEngine("group")
        engine.match_usable = lambda metadata, usable: engine.decision._replace(
            target=next(filter(usable, ("group", "next")))
        )
        assert rig.tunnel.decide(metadata(network=network)).name == chosen


class Passing:
    """A group that passes flows on, all (`passes`) or now and then."""

    name, verdict, udp = "group", Verdict.UNKNOWN, True

    def __init__(self, picks, *, passes=False):
        self._picks = picks
        self.passes = passes

    def pick(self, metadata):
        return next(self._picks)


class Passed:
    """PASS."""

    name, verdict, udp, passes = "PASS", Verdict.UNKNOWN, True, True


@pytest.mark.parametrize(("always", "verdict"), [(True, Verdict.DIRECT), (False, Verdict.UNKNOWN)])
def test_after_a_group_that_may_pass_on_nothing_is_learnt(always, verdict):
    with RelayRig() as rig:
        rig.tunnel.verdicts = notebook = Notebook()
        group = Passing(itertools.repeat(Passed()), passes=always)
        rig.tunnel.outbounds = OutboundRegistry([group, rig.direct("DIRECT", kernel=True)])
        engine = rig.tunnel.engine = FixedEngine("group")
        engine.match_usable = lambda metadata, usable: engine.decision._replace(
            target=next(filter(usable, ("group", "DIRECT")))
        )
        rig.pair()
        learnt = [each for _, _, each in notebook.learnt]
        assert learnt == ([verdict] if verdict is not Verdict.UNKNOWN else [])


def test_who_was_picked_when_the_rules_asked_takes_the_flow():
    with RelayRig() as rig:
        choice = rig.direct("choice")
        group = Passing(iter((Passed(), choice, Passed())))
        rig.tunnel.outbounds = OutboundRegistry([group])
        engine = rig.tunnel.named_engine = FixedEngine("group")
        engine.match_usable = lambda metadata, usable: engine.decision._replace(
            target=next(filter(usable, ("group",)))
        )
        assert rig.tunnel.decide(metadata()) is choice


def test_new_engine_decides_new_flows_and_leaves_old_ones():
    with RelayRig() as rig:
        client, server = rig.pair()
        rig.tunnel.engine = FixedEngine("nowhere")
        second = rig.connect()
        rig.turn_until(lambda: rig.tracker.errors != {})
        with pytest.raises(ConnectionResetError):
            second.recv(1)
        client.sendall(b"old flow")
        rig.turn_until(lambda: readable(server))
        assert server.recv(64) == b"old flow"


def test_datagram_without_an_outbound_is_counted_and_dropped():
    with RelayRig() as rig:
        rig.tunnel.engine = FixedEngine("nowhere")
        rig.tunnel.handle_udp(memoryview(b"x"), ("127.0.0.1", 5000), ("127.0.0.1", 53))
        assert rig.tracker.errors == {"no-outbound": 1}
        assert rig.tunnel.nat.associations == {}


def test_close_ends_udp():
    with RelayRig() as rig:
        rig.tunnel.nat._open_reply = lambda local, peer: socket.SocketType(
            socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0
        )
        rig.tunnel.handle_udp(memoryview(b"x"), ("127.0.0.1", 5000), ("127.0.0.1", 5001))
        assert rig.tracker.udp_live == 1
        rig.tunnel.close()
        assert rig.tracker.udp_live == 0


class InOrder(FixedEngine):
    """Rules that all match, one for each target."""

    def __init__(self, *targets: str) -> None:
        super().__init__(targets[0])
        self.targets = targets

    def match_usable(self, metadata, usable):
        target = next((name for name in self.targets if usable(name)), "DIRECT")
        return Decision(target, -1, 0)


@pytest.mark.parametrize(
    ("targets", "tcp", "udp"),
    [
        (("deaf", "REJECT"), "DIRECT", "REJECT"),
        (("outer", "REJECT"), "DIRECT", "REJECT"),
        (("balanced", "REJECT"), "no-udp", "no-udp"),
        (("skip", "deaf", "REJECT-DROP"), "DIRECT", "REJECT-DROP"),
        (("no-udp", "PASS", "skip"), "no-udp", "DIRECT"),
    ],
)
def test_what_does_not_take_a_flow_leaves_it_to_the_next_rule(targets, tcp, udp):
    with RelayRig() as rig:
        rig.tunnel.outbounds = built(
            rig,
            ProxySpec("no-udp", "direct", udp=False),
            groups=(
                GroupSpec("deaf", GroupType.SELECT, ("DIRECT",), disable_udp=True),
                GroupSpec("outer", GroupType.FALLBACK, ("deaf",)),
                GroupSpec("balanced", GroupType.LOAD_BALANCE, ("no-udp",)),
                GroupSpec("skip", GroupType.SELECT, ("PASS",)),
            ),
        )
        rig.tunnel.named_engine = InOrder(*targets)
        found = [
            rig.tunnel.decide(metadata(network=network)).name
            for network in (Network.TCP, Network.UDP)
        ]
        assert found == [tcp, udp]


def test_what_a_group_takes_of_one_network_says_nothing_of_the_other():
    notebook = Notebook()
    with RelayRig() as rig:
        rig.tunnel.verdicts = notebook
        rig.tunnel.outbounds = built(
            rig, groups=(GroupSpec("deaf", GroupType.SELECT, ("DIRECT",), disable_udp=True),)
        )
        rules = [parse_rule(line) for line in ("DST-PORT,443,deaf", "MATCH,REJECT")]
        rig.tunnel.engine = engine_of(rules, names_observed=False, conditional={"deaf"})
        ways = [
            rig.tunnel._decide(metadata("9.9.9.9", 443, network=network)).name
            for network in (Network.TCP, Network.UDP)
        ]
        assert ways == ["DIRECT", "REJECT"]
        (_, depends, verdict), *_ = notebook.learnt
        assert (depends, verdict) == (DST_PORT | NETWORK, Verdict.DIRECT)
        assert depends in masks(rules, TunnelMode.RULE, names_observed=False, conditional={"deaf"})
