"""`rule`: what is asked, what is printed."""

from __future__ import annotations

import json

import pytest
from support.playing import Gateway, group

from mihomo_tproxy import cli
from mihomo_tproxy.cli import rule
from mihomo_tproxy.keeper.store import save_selection

TEXT = """\
mode: rule
mixed-port: 7890
listeners: [{name: door, type: http, port: 8080}]
proxies:
  - {name: tokyo, type: socks5, server: 192.0.2.1, port: 1080, udp: true}
  - {name: web, type: http, server: 192.0.2.1, port: 8080}
proxy-groups:
  - {name: Proxy, type: select, proxies: [tokyo, web, DIRECT]}
hosts: {there.test: 203.0.113.9}
rules:
  - DOMAIN,there.test,Proxy
  - IP-CIDR,203.0.113.0/24,DIRECT
  - AND,((IN-NAME,door),(IN-USER,me)),web
  - DST-PORT,53,web
  - MATCH,Proxy
"""


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(TEXT)
    return str(file)


def printed(capsys, *arguments):
    assert cli.main(["rule", *arguments]) == 0
    return capsys.readouterr().out


def values(capsys, *arguments):
    return json.loads(printed(capsys, "--json", *arguments))


def test_for_people(path, capsys):
    assert (
        printed(capsys, "-f", path, "udp 192.0.2.5 -> 192.0.2.9:53")
        == f"""\
udp 192.0.2.5:50000 -> 192.0.2.9:53, by {path}
assumed: its port 50000

when it is steered:
  rule      MATCH,Proxy (rule 5, line 15)
  passed    DST-PORT,53,web (rule 4, line 14): web takes no datagrams
  depends   destination address, destination port, network
  group     Proxy (select) takes tokyo: nothing is selected
  outbound  tokyo (socks5)
  kernel    is not told: tokyo is a proxy, the relay carries the flow
"""
    )


def test_a_name_is_answered_twice(path, capsys):
    out = printed(capsys, "-f", path, "tcp 192.0.2.5:1 -> There.test.:443")
    steered, asked = out.split("\n\n")[1:]
    head = "when it is steered, whose name is not known in this version, to 203.0.113.9:443:"
    assert steered.splitlines()[:2] == [
        head, "  rule      IP-CIDR,203.0.113.0/24,DIRECT (rule 2, line 12)"
    ]  # fmt: skip
    assert asked.splitlines()[:2] == [
        "when a client asks a port of type mixed for it:",
        "  rule      DOMAIN,there.test,Proxy (rule 1, line 11)",
    ]


def test_the_address_may_be_given(path, capsys):
    found = values(capsys, "-f", path, "-> there.test", "--resolved", "192.0.2.77")
    steered, named = found["answers"]
    assert steered["flow"].endswith("-> 192.0.2.77:443")
    assert steered["explanation"]["rule"]["number"] == 5
    assert named["explanation"]["rule"]["number"] == 1


def test_a_name_is_resolved_where_a_rule_asks(path, capsys):
    with open(path, "a", encoding="utf-8") as file:
        file.write("  - DOMAIN,never.test,DIRECT\n")
    arguments = ("-f", path, "-> else.test", "--resolved", "203.0.113.7", "--inbound", "socks")
    assert "  resolved  else.test to 203.0.113.7, for the rules\n" in printed(capsys, *arguments)
    (found,) = values(capsys, *arguments)["answers"]
    assert found["explanation"]["rule"]["line"] == 12


def test_a_name_without_an_address(path, capsys, monkeypatch):
    async def nothing(_resolver, _host):
        return ""

    monkeypatch.setattr(rule, "_address", nothing)
    out = printed(capsys, "-f", path, "-> gone.test")
    assert "  gone.test has no address\n" in out
    assert "  resolved  gone.test to no address, for the rules\n" in out


def test_by_which_port_and_by_whom(path, capsys):
    def number(*arguments):
        (found,) = values(capsys, "-f", path, "-> 192.0.2.9", *arguments)["answers"]
        return found["explanation"]["rule"]["number"]

    assert number("--inbound", "http", "--user", "me") == 3
    assert number("--inbound", "http") == 5
    assert number("--inbound", "mixed", "--user", "me") == 5
    assert number("--inbound", "tproxy", "--user", "me") == 5


def test_stored_selections_count(path, tmp_path, capsys):
    save_selection(str(tmp_path), "Proxy", "DIRECT")
    (found,) = values(capsys, "-f", path, "-> 192.0.2.9")["answers"]
    assert found["explanation"]["outbound"] == "DIRECT"
    assert found["explanation"]["groups"][0]["how"] == "selected"


def test_the_gateway_that_runs_is_asked(path, capsys, monkeypatch):
    gateway = Gateway(monkeypatch)
    gateway.answers["groups"] = {
        "mode": "global",
        "groups": [
            group("Proxy", "select", "web", "tokyo", "web", "DIRECT"),
            group("GLOBAL", "select", "Proxy", "DIRECT", "Proxy"),
        ],
    }
    monkeypatch.setattr(rule, "running_file", lambda: (path, ""))
    out = printed(capsys, "tcp 192.0.2.5:1 -> 192.0.2.9:443")
    assert out.startswith("tcp 192.0.2.5:1 -> 192.0.2.9:443, by the gateway that runs here\n")
    assert "  rule      none is asked: the mode is global\n" in out
    assert "  group     GLOBAL (select) takes Proxy: selected\n" in out
    assert "  outbound  web (http)\n" in out


def test_no_rule_matches(tmp_path, capsys):
    file = tmp_path / "config.yaml"
    file.write_text("rules: ['DST-PORT,25,REJECT']")
    out = printed(capsys, "-d", str(tmp_path), "-> 192.0.2.9")
    assert "  rule      none matches: DIRECT\n" in out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["-> 192.0.2.9", "--resolved", "192.0.2.1"], 1, "--resolved is for a flow to a name"),
        (["-> a.test", "--resolved", "b.test"], 1, "not an IP address: 'b.test'"),
        (["nonsense"], 1, "a flow is written"),
        (["-> a.test", "-f", "/nonexistent/x.yaml"], 2, "there is no configuration file"),
    ],
)
def test_what_cannot_be_asked(path, capsys, arguments, code, says):
    files = [] if "-f" in arguments else ["-f", path]
    assert cli.main(["rule", *arguments, *files]) == code
    assert says in capsys.readouterr().err
