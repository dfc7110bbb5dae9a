"""The kernel's verdicts against the literal rule loop, flow by flow, in a gateway that runs.

Random rule files, and random flows of two clients, TCP and UDP, IPv4 and IPv6, each sent more than
once, so that the kernel answers what it has learnt. Whoever answers, the way must be the one that
the rules, asked one by one, say (`support.oracle.expected`). Between the rounds the file, the mode
and the groups' selections change, and every answer must change with them at once.
"""

from __future__ import annotations

import shutil
from collections import Counter
from random import Random

import pytest
from support.differential.internet import Internet, resolv_conf
from support.differential.programs import listeners
from support.gateway import Gateway
from support.interop.client import gateway_block
from support.oracle.expected import KERNEL, UNREACHED
from support.oracle.kernel import Kernel
from support.oracle.rounds import Rounds
from support.oracle.rule_file import Ports, RuleFile
from support.oracle.world import (
    NAMES,
    SELECTIONS,
    SERVERS,
    WITHOUT_UDP,
    sections,
    write_geo_data,
)

pytestmark = pytest.mark.timeout(120)

SEEDS = (1, 2, 3, 4, 5, 6)
SELECTS = 4
GLOBAL = ("DIRECT", "outer", "N0", "deaf")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home directory with geo data."""
    home = tmp_path_factory.mktemp("home")
    write_geo_data(home)
    yield home
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def rounds(module_rig, home):
    """One daemon for all files, and all that is sent through it."""
    with Internet(module_rig, SERVERS, NAMES, tells_peer=True) as internet:
        common = sections(internet.proxies(WITHOUT_UDP), listeners())
        gateway = Gateway(module_rig)
        gateway.file = home / "config.yaml"
        gateway.configure(common)
        with resolv_conf(module_rig) as prefix:
            gateway.start(prefix=prefix)
        with gateway_block(gateway):
            yield Rounds(module_rig, gateway, Kernel(module_rig.gateway), Ports(), common)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_flow_goes_the_way_the_rules_say(rounds, seed):
    random = Random(seed)
    rounds.load(RuleFile(seed))
    rounds.run("after the load")
    for _ in range(SELECTS):
        group, member = random.choice(SELECTIONS)
        rounds.select(group, member)
        rounds.run(f"{group} -> {member}")
    rounds.mode("global")
    for member in random.sample(GLOBAL, 2):
        rounds.select("GLOBAL", member)
        rounds.run(f"global -> {member}", every=4)
    rounds.mode("direct")
    rounds.run("direct", every=4)
    rounds.mode("rule")
    rounds.run("rules again")


def test_answers_changed_both_ways(rounds):
    """The files above are no good if the kernel decides too little, or always the same."""
    changes: Counter[tuple[bool, bool]] = Counter()
    kernel = (KERNEL, UNREACHED)
    for (before, after), number in rounds.changes.items():
        changes[before in kernel, after in kernel] += number
    assert changes[True, False] > 20
    assert changes[False, True] > 20
    assert rounds.ways[KERNEL] > 200
    assert rounds.ways[UNREACHED] > 20
    assert rounds.ways["P0"] > 50
