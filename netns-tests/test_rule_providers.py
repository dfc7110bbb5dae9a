"""Rule providers and geo files in the running gateway: news of them reach rules and the kernel.

Destination 9 is what the lists name; what they say of it shows in who carries a flow there.
"""

from __future__ import annotations

import os
import time
from ipaddress import ip_address

import pytest
from support.dat import cidr, domain, entry
from support.downloads import SIZE_LIMIT, assert_refused, every_bad
from support.gateway import wait_until
from support.governed import DIRECT, group
from support.mmdb import write
from support.mrs import pack_ranges

LISTED, OTHER = 9, 8
HOUR_S = 3600
FORMATS = ("yaml", "text", "mrs")


def ranges(stage, form, *numbers):
    """A list of destinations."""
    addresses = [stage.rig.destination(number) for number in numbers]
    if form == "mrs":
        keys = [int(ip_address(f"::ffff:{address}")) for address in addresses]
        return pack_ranges([(key, key) for key in sorted(keys)])
    lines = [f"{address}/32" for address in addresses]
    if form == "text":
        return "\n".join(lines)
    return "payload:\n" + "".join(f"  - '{line}'\n" for line in lines)


def provider(stage, name, form="yaml", behavior="ipcidr", **options):
    """An entry of `rule-providers` whose server has nothing yet; its place is the test's."""
    more = {key.replace("_", "-"): value for key, value in options.items()}
    file = {"path": f"{stage.number}-{name}", "interval": HOUR_S}
    url = stage.web.url(f"/{stage.number}/{name}")
    return {"type": "http", "behavior": behavior, "format": form, "url": url, **file, **more}


def put(stage, name, body):
    """What its server has from now on."""
    stage.web.put(f"/{stage.number}/{name}", body)


def use(stage, name, entry, target="REJECT", **more):
    """What the provider lists goes to a target, all else to DIRECT."""
    return stage.use(
        group("by", "select", "a", DIRECT),
        rule_providers={name: entry},
        rules=[f"RULE-SET,{name},{target}", "MATCH,DIRECT"],
        **more,
    )


def wait_blocked(stage, *numbers):
    """Returns once these of the two destinations are refused, and no other."""
    expected = {number: number in numbers for number in (LISTED, OTHER)}
    wait_until(lambda: {n: stage.blocked(n) for n in expected} == expected, f"refused: {numbers}")


@pytest.mark.parametrize("form", FORMATS)
def test_formats(stage, form):
    put(stage, form, ranges(stage, form, LISTED))
    use(stage, form, provider(stage, form, form))
    wait_blocked(stage, LISTED)


def test_classical(stage):
    lines = [f"IP-CIDR,{stage.rig.destination(LISTED)}/32", "DST-PORT,1", "NO-SUCH,rule"]
    put(stage, "C", "\n".join(lines))
    gateway = use(stage, "C", provider(stage, "C", "text", "classical"))
    wait_blocked(stage, LISTED)
    assert "rule-providers.C: 1 of 3 rules are left out" in gateway.output


def test_what_the_kernel_knows_follows(stage):
    put(stage, "K", ranges(stage, "text", OTHER))
    gateway = use(stage, "K", provider(stage, "K", "text"), "by")
    wait_until(lambda: stage.carrier(OTHER) == "a", "the list")
    before = gateway.routes()
    assert stage.carrier(LISTED) == stage.udp_carrier(LISTED) == DIRECT
    assert gateway.since(before).kernel.flows == 2
    put(stage, "K", ranges(stage, "text", LISTED))
    assert gateway.ask("update", name="K") == {"changed": True}
    wait_until(lambda: stage.carrier(LISTED) == "a", "the new list")
    assert stage.udp_carrier(LISTED) == "a"
    before = gateway.routes()
    assert stage.carrier(OTHER) == stage.udp_carrier(OTHER) == DIRECT
    assert gateway.since(before).kernel.flows == 2


def test_updates_by_interval(stage):
    put(stage, "I", ranges(stage, "yaml", OTHER))
    use(stage, "I", provider(stage, "I", interval=1))
    wait_blocked(stage, OTHER)
    put(stage, "I", ranges(stage, "yaml", LISTED))
    wait_blocked(stage, LISTED)


def test_a_file_that_somebody_changes_is_read_again(stage):
    file = stage.gateway.home / "watched.txt"
    file.write_text(ranges(stage, "text", OTHER), encoding="utf-8")
    gateway = use(
        stage,
        "F",
        {"type": "file", "behavior": "ipcidr", "format": "text", "path": file.name},
    )
    assert stage.blocked(OTHER)
    file.write_text(ranges(stage, "text", LISTED, OTHER), encoding="utf-8")
    wait_blocked(stage, LISTED, OTHER)
    file.write_text(ranges(stage, "text", LISTED), encoding="utf-8")
    gateway.ask("update", name="F")
    wait_blocked(stage, LISTED)


@every_bad
def test_a_bad_update_changes_nothing(module_stage, kind):
    """All of them one after the other to one provider."""
    stage = module_stage
    file = stage.gateway.home / "bad"
    if not file.exists():
        stage.web.put("/bad", ranges(stage, "mrs", LISTED))
        options = {"url": stage.web.url("/bad"), "path": "bad", "size-limit": SIZE_LIMIT}
        use(stage, "B", provider(stage, "B", "mrs", **options))
        wait_blocked(stage, LISTED)
    assert_refused(stage.gateway, stage.web, "/bad", "B", file, kind)
    assert stage.blocked(LISTED)


# Geo files.


def geoip(stage, *numbers):
    """GeoIP.dat: destinations by country."""
    items = [cidr(f"{stage.rig.destination(number)}/32") for number in numbers]
    return entry("CN", *items) + entry("US", cidr("192.0.2.0/24"))


def mmdb(stage, *numbers):
    """The same as a MaxMind database."""
    china = {"country": {"iso_code": "CN"}}
    records = [(f"::{stage.rig.destination(number)}/128", china) for number in numbers]
    return write(records, bits=28)


def asn(stage, *numbers):
    """ASN.mmdb: destinations of a network."""
    record = {"autonomous_system_number": 64500, "autonomous_system_organization": "Somebody"}
    listed = [(f"::{stage.rig.destination(number)}/128", record) for number in numbers]
    return write(listed, bits=28, type="GeoLite2-ASN")


GEO = {
    "geoip": (geoip, "GEOIP,CN,REJECT", {"geodata-mode": True}, "GeoIP.dat"),
    "mmdb": (mmdb, "GEOIP,CN,REJECT", {"geodata-mode": False}, "geoip.metadb"),
    "asn": (asn, "IP-ASN,64500,REJECT", {}, "ASN.mmdb"),
}


@pytest.mark.parametrize("kind", GEO)
def test_missing_geo_files_are_downloaded(stage, kind):
    make, rule, mode, name = GEO[kind]
    url = stage.web.put(f"/{kind}", make(stage, LISTED))
    config = {"rules": [rule, "MATCH,DIRECT"], "geox-url": {kind: url}, **mode}
    gateway = stage.gateway
    gateway.reload(config)
    wait_blocked(stage, LISTED)
    file = gateway.home / name
    assert file.exists()
    # Whatever comes later, what is of no use does not replace it; an old one is renewed by itself.
    stage.web.put(f"/{kind}", b"no such file")
    old = time.time() - 3 * HOUR_S
    os.utime(file, (old, old))
    seen = gateway.output.count(f"geo file {kind}: download failed, the last good file stays")
    gateway.reload({**config, "geo-auto-update": True, "geo-update-interval": 1})
    gateway.wait_log(f"geo file {kind}: download failed, the last good file stays", seen + 1)
    assert stage.blocked(LISTED)
    stage.web.put(f"/{kind}", make(stage, OTHER))
    gateway.ask("update", name=kind)
    wait_blocked(stage, OTHER)


def test_geosite(stage):
    """Of a name, which a client tells at a port for proxies."""
    listed = entry("LIST", domain(3, "listed.test"))
    url = stage.web.put("/geosite", listed)
    address = stage.rig.destination(OTHER)
    stage.gateway.reload(
        {
            "mixed-port": 7890,
            "allow-lan": True,
            "hosts": {"listed.test": address, "other.test": address},
            "rules": ["GEOSITE,list,REJECT", "MATCH,DIRECT"],
            "geox-url": {"geosite": url},
        }
    )
    via = f"http://{stage.rig.gateway.address(4)}:7890"

    def status(name):
        arguments = ["-sS", "-o", "/dev/null", "-w", "%{http_code}", "-x", via, f"http://{name}/"]
        return stage.rig.clients[0].run(["curl", *arguments]).stdout

    wait_until(lambda: status("listed.test") == "403", "the list")
    assert status("other.test") == "200"
