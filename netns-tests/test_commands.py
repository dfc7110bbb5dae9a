"""The commands for people, against a gateway that runs: what they change is what flows meet."""

from __future__ import annotations

import json

import pytest
from support.gateway import Gateway
from support.tcp import connects

LEARNT = "AND,((DST-PORT,7),(IP-CIDR,{}/32)),DIRECT"
GROUPS = [
    {"name": "Pick", "type": "select", "proxies": ["DIRECT", "REJECT", "Near"]},
    {
        "name": "Near", "type": "fallback", "proxies": ["one", "two"],
        "interval": 3600, "lazy": False,
    },
]  # fmt: skip
PROXIES = [{"name": "one", "type": "direct"}, {"name": "two", "type": "direct"}]


def config(rig):
    url = f"http://{rig.destination(1)}/bytes/1"
    groups = [dict(group) for group in GROUPS]
    groups[1]["url"] = url
    return {
        "proxies": PROXIES,
        "proxy-groups": groups,
        "rule-providers": {
            "mine": {"type": "http", "url": f"http://{rig.destination(1)}/bytes/0",
                     "behavior": "classical", "path": "mine.yaml", "format": "text",
                     "payload": ["DST-PORT,9"]},
        },
        "rules": ["RULE-SET,mine,REJECT", LEARNT.format(rig.destination(6, 4)), "MATCH,Pick"],
    }  # fmt: skip


@pytest.fixture(scope="module")
def gateway(module_rig):
    assert module_rig.servers.process.running
    with Gateway(module_rig, config(module_rig)) as gateway:
        yield gateway


def values(gateway, *arguments):
    return json.loads(gateway.run(*arguments, "--json").stdout)


def passes(gateway):
    rig = gateway.rig
    return connects(rig.clients[0], rig.destination(5, 4))


def test_selecting_changes_new_flows(gateway):
    assert passes(gateway)
    assert gateway.run("group", "Pick", "REJECT").stdout == "Pick: REJECT\n"
    assert not passes(gateway)
    assert values(gateway, "group", "Pick")["now"] == "REJECT"
    gateway.run("group", "Pick", "DIRECT")
    assert passes(gateway)
    assert "Pick" in gateway.run("group").stdout


def test_a_selection_is_there_after_a_restart(gateway):
    gateway.run("group", "Pick", "REJECT")
    assert gateway.stop() == 0
    gateway.start()
    assert not passes(gateway)
    gateway.run("group", "Pick", "DIRECT")


def test_modes(gateway):
    assert gateway.run("mode").stdout == "rule\n"
    gateway.run("group", "Pick", "REJECT")
    gateway.run("group", "GLOBAL", "DIRECT")
    assert gateway.run("mode", "global").stdout == "global\n"
    assert passes(gateway)
    gateway.run("mode", "rule")
    assert not passes(gateway)
    gateway.run("group", "Pick", "DIRECT")


def test_delays(gateway):
    assert gateway.run("delay", "one").stdout.startswith("one: ")
    assert set(values(gateway, "delay", "Near", "--members")) == {"one", "two"}
    done = gateway.run("delay", "one", "--url", "http://192.0.2.1:1/", "--timeout", "300",
                       check=False)  # fmt: skip
    assert done.returncode == 1
    assert "'one' does not reach" in done.stderr


def test_an_explanation_of_what_runs(gateway):
    gateway.run("group", "Pick", "REJECT")
    flow = f"tcp 192.0.2.1 -> {gateway.rig.destination(5, 4)}:7"
    (answer,) = values(gateway, "rule", flow)["answers"]
    found = answer["explanation"]
    assert found["rule"]["text"] == "MATCH,Pick"
    assert (found["groups"][0]["how"], found["outbound"]) == ("selected", "REJECT")
    gateway.run("group", "Pick", "DIRECT")
    (answer,) = values(gateway, "rule", flow)["answers"]
    assert answer["explanation"]["kernel"].startswith("learns it from the first flow")


def test_what_an_explanation_says_of_the_kernel_holds(gateway):
    rig = gateway.rig
    destination = rig.destination(6, 4)
    (answer,) = values(gateway, "rule", f"-> {destination}:7")["answers"]
    assert answer["explanation"]["held"]
    assert connects(rig.clients[0], destination)
    before = gateway.routes()
    assert connects(rig.clients[0], destination)
    passed = gateway.since(before)
    assert (passed.kernel.flows, passed.relay.flows) == (1, 0)


def test_a_groups_choice_is_held_by_the_kernel_until_it_changes(gateway):
    rig = gateway.rig
    destination = rig.destination(7, 4)
    gateway.run("group", "Pick", "DIRECT")
    assert connects(rig.clients[0], destination)
    before = gateway.routes()
    assert connects(rig.clients[0], destination)
    passed = gateway.since(before)
    assert (passed.kernel.flows, passed.relay.flows) == (1, 0)
    gateway.run("group", "Pick", "REJECT")
    assert not connects(rig.clients[0], destination)
    gateway.run("group", "Pick", "DIRECT")


def test_providers(gateway):
    (entry,) = values(gateway, "provider")
    assert (entry["name"], entry["kind"], entry["count"]) == ("mine", "rule", 1)
    done = gateway.run("provider", "mine", "--update", check=False)
    assert done.returncode == 1
    assert "rule provider mine: " in done.stderr
    assert "there is no provider" in gateway.run("provider", "x", check=False).stderr


def test_reload(gateway):
    good = config(gateway.rig)
    assert gateway.run("reload").stdout == "reloaded: 3 rules\n"
    gateway.configure({**good, "rules": ["MATCH,Nobody"]})
    done = gateway.run("reload", check=False)
    assert done.returncode == 1
    assert "rules[0]: target 'Nobody' not found" in done.stderr
    assert passes(gateway)
    gateway.configure(good)
    gateway.run("reload")


def test_nobody_there(module_rig):
    other = Gateway(module_rig, "{}", node=module_rig.clients[0])
    done = other.run("group", check=False)
    assert done.returncode == 1
    assert done.stderr == "mihomo-tproxy: no gateway runs in this network namespace\n"
