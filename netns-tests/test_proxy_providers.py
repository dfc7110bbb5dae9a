"""Proxy providers in the running gateway: where proxies come from, and what becomes of bad news."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest
from support.downloads import SIZE_LIMIT, assert_refused, every_bad
from support.gateway import wait_until
from support.governed import DIRECT, group
from support.tcp import ECHO, says

from mihomo_tproxy.errors import GatewayError

PATH = "/proxies"
HOUR_S = 3600


def content(stage, *names, prefix=""):
    """What a provider's server gives: entries of these proxies."""
    entries = [{**stage.proxies[name].entry(), "name": prefix + name} for name in names]
    return json.dumps({"proxies": entries})


def http(stage, name, *names, **options):
    """An entry of `proxy-providers` whose server gives these proxies; its place is the test's."""
    path = f"{PATH}/{stage.number}/{name}"
    url = stage.web.put(path, content(stage, *names, prefix=f"{name} "))
    more = {key.replace("_", "-"): value for key, value in options.items()}
    file = {"path": f"{stage.number}-{name}.yaml"}
    return {"type": "http", "url": url, **file, "interval": HOUR_S, **more}


def path_of(stage, name):
    """Path of what a provider downloads, on the server and on the disk."""
    return f"{PATH}/{stage.number}/{name}", stage.gateway.home / f"{stage.number}-{name}.yaml"


def using(stage, name, **options):
    """A select group of a provider alone, and the rules of the base configuration."""
    return group(f"{name} {stage.number}", "select", use=[name], **options)


def members(stage, name):
    """Those of the group of `using`."""
    return stage.gateway.group(f"{name} {stage.number}")["members"]


def wait_members(stage, name, *expected):
    """Returns once the group has these."""
    wait_until(lambda: members(stage, name) == [*expected], f"members {expected}")


def test_http(stage):
    stage.use(using(stage, "P"), proxy_providers={"P": http(stage, "P", "b", "a")})
    wait_members(stage, "P", "P b", "P a")
    assert stage.carrier() == stage.udp_carrier() == "b"
    (request,) = stage.web.requests(path_of(stage, "P")[0])
    assert request.method == "GET"
    assert request.headers["user-agent"].startswith("clash.meta/")
    assert stage.name_of(request.peer) == DIRECT


def test_file_and_inline(stage):
    (stage.gateway.home / "given.yaml").write_text(content(stage, "c"), encoding="utf-8")
    inline = {"type": "inline", "payload": [{**stage.proxies["b"].entry(), "name": "given b"}]}
    file = {"type": "file", "path": "given.yaml"}
    both = group("both", "select", use=["F", "I"])
    gateway = stage.use(both, proxy_providers={"F": file, "I": inline})
    assert gateway.group("both")["members"] == ["c (F)", "given b"]
    assert stage.carrier() == "c"
    gateway.select("both", "given b")
    assert stage.carrier() == "b"


def test_share_links(stage):
    links = "".join(f"socks5://{p.address}:{p.port}#link {n}\n" for n, p in stage.proxies.items())
    provider = http(stage, "P")
    stage.web.put(path_of(stage, "P")[0], b64encode(links.encode()))
    stage.use(using(stage, "P", filter="b$"), proxy_providers={"P": provider})
    wait_members(stage, "P", "link b")
    assert stage.carrier() == "b"


def test_filter_and_override(stage):
    override = {"additional-prefix": "<", "additional-suffix": ">", "udp": False}
    provider = http(stage, "P", "a", "b", "c", filter="a|b", exclude_filter="a", override=override)
    rules = [f"MATCH,P {stage.number}", "MATCH,DIRECT"]
    stage.use(using(stage, "P"), proxy_providers={"P": provider}, rules=rules)
    wait_members(stage, "P", "<P b>")
    assert stage.carrier() == "b"
    assert stage.udp_carrier() == DIRECT


def test_download_through_a_proxy_or_a_group(stage):
    providers = {
        "P": http(stage, "P", "a", proxy="b"),
        "Q": http(stage, "Q", "a", proxy="way"),
    }
    groups = using(stage, "P"), using(stage, "Q"), group("way", "select", "c", "b")
    stage.use(*groups, proxy_providers=providers)
    for name, way in (("P", "b"), ("Q", "c")):
        wait_members(stage, name, f"{name} a")
        (request,) = stage.web.requests(path_of(stage, name)[0])
        assert stage.name_of(request.peer) == way
    stage.gateway.select("way", "b")
    stage.gateway.ask("update", name="Q")
    assert stage.name_of(stage.web.requests(path_of(stage, "Q")[0])[-1].peer) == "b"


def test_headers(stage):
    header = {"User-Agent": ["special/1"], "X-Token": ["secret"]}
    stage.use(using(stage, "P"), proxy_providers={"P": http(stage, "P", "a", header=header)})
    wait_members(stage, "P", "P a")
    (request,) = stage.web.requests(path_of(stage, "P")[0])
    assert request.headers["user-agent"] == "special/1"
    assert request.headers["x-token"] == "secret"


def test_updates_by_interval(stage):
    stage.use(using(stage, "P"), proxy_providers={"P": http(stage, "P", "a", interval=1)})
    wait_members(stage, "P", "P a")
    stage.web.put(path_of(stage, "P")[0], content(stage, "b"))
    wait_members(stage, "P", "b (P)")
    assert stage.carrier() == "b"


def test_updates_by_command(stage):
    gateway = stage.use(using(stage, "P"), proxy_providers={"P": http(stage, "P", "a")})
    wait_members(stage, "P", "P a")
    assert gateway.ask("update", name="P") == {"changed": False}
    stage.web.put(path_of(stage, "P")[0], content(stage, "b", prefix="new "))
    assert gateway.run("provider", "P", "--update").stdout == "P: downloaded\n"
    wait_members(stage, "P", "new b")
    assert stage.carrier() == "b"
    with pytest.raises(GatewayError, match="nothing"):
        gateway.ask("update", name="nothing")


def test_flows_live_on_over_an_update(stage):
    gateway = stage.use(using(stage, "P"), proxy_providers={"P": http(stage, "P", "a")})
    wait_members(stage, "P", "P a")
    with stage.rig.clients[0].connect(stage.rig.destination(1), ECHO) as flow:
        assert says(flow)
        stage.web.put(path_of(stage, "P")[0], content(stage, "b", prefix="P "))
        gateway.ask("update", name="P")
        wait_members(stage, "P", "P b")
        assert stage.carrier() == "b"
        assert says(flow)


def test_what_was_selected_stays_over_an_update(stage):
    gateway = stage.use(using(stage, "P"), proxy_providers={"P": http(stage, "P", "a", "b")})
    wait_members(stage, "P", "P a", "P b")
    gateway.select(f"P {stage.number}", "P b")
    stage.web.put(path_of(stage, "P")[0], content(stage, "c", "b", prefix="P "))
    gateway.ask("update", name="P")
    wait_members(stage, "P", "P c", "P b")
    assert stage.carrier() == "b"


def test_health_check_of_a_provider(stage):
    check = {"enable": True, "url": stage.check_url, "interval": 1, "lazy": False}
    provider = http(stage, "P", "a", "b", health_check=check)
    best = group(f"P {stage.number}", "fallback", use=["P"], url="", interval=HOUR_S)
    stage.use(best, proxy_providers={"P": provider})
    wait_members(stage, "P", "P a", "P b")
    assert stage.carrier() == "a"
    stage.proxies["a"].alive = False
    stage.gateway.wait_now(f"P {stage.number}", "P b")
    assert stage.carrier() == "b"


def test_what_has_not_changed_is_not_sent_again(stage):
    provider = http(stage, "P", "a")
    path, file = path_of(stage, "P")
    stage.web.put(path, content(stage, "a", prefix="P "), headers={"ETag": '"one"'})
    gateway = stage.use(using(stage, "P"), proxy_providers={"P": provider})
    wait_members(stage, "P", "P a")
    number = file.stat().st_ino
    assert gateway.ask("update", name="P") == {"changed": False}
    assert [request.status for request in stage.web.requests(path)] == [200, 304]
    assert file.stat().st_ino == number
    file.write_text(content(stage, "c"), encoding="utf-8")
    assert gateway.ask("update", name="P") == {"changed": True}
    assert stage.web.requests(path)[-1].status == 200


def test_subscription_userinfo(stage):
    path, _ = path_of(stage, "P")
    provider = http(stage, "P", "a")
    info = "upload=1; download=2; total=10; expire=4102444800"
    headers = {"Subscription-Userinfo": info}
    stage.web.put(path, content(stage, "a", prefix="P "), headers=headers)
    gateway = stage.use(using(stage, "P"), proxy_providers={"P": provider})
    wait_members(stage, "P", "P a")
    (entry,) = json.loads(gateway.run("provider", "P", "--json").stdout)
    assert entry["count"] == 1
    assert {key.lower(): value for key, value in entry["subscription"].items()} == {
        "upload": 1, "download": 2, "total": 10, "expire": 4102444800
    }  # fmt: skip


@every_bad
def test_a_bad_update_changes_nothing(module_stage, kind):
    """All of them one after the other to one provider."""
    stage = module_stage
    if "bad 1" not in (group["name"] for group in stage.gateway.ask("groups")["groups"]):
        url = stage.web.put("/bad", content(stage, "a", prefix="bad "))
        options = {"type": "http", "url": url, "path": "bad.yaml", "size-limit": SIZE_LIMIT}
        stage.use(group("bad 1", "select", use=["P"]), proxy_providers={"P": options})
        wait_until(lambda: stage.gateway.group("bad 1")["members"] == ["bad a"], "the good file")
    file = stage.gateway.home / "bad.yaml"
    assert_refused(stage.gateway, stage.web, "/bad", "P", file, kind)
    assert stage.carrier() == "a"


def test_news_after_bad_ones(stage):
    """What failed is tried again; what is asked for is so at once."""
    path, file = path_of(stage, "P")
    provider = http(stage, "P", "a")
    stage.web.put(path, status=404)
    gateway = stage.use(using(stage, "P"), proxy_providers={"P": provider})
    gateway.wait_log("proxy provider P: download failed, there is none: the server answered 404")
    assert not file.exists()
    assert stage.carrier() == DIRECT
    stage.web.put(path, content(stage, "a", prefix="P "))
    assert gateway.ask("update", name="P") == {"changed": True}
    wait_members(stage, "P", "P a")
    assert stage.carrier() == "a"
