"""Keys that both kinds of provider have; `test_provider_entry` and others ask for each in use."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from mihomo_tproxy.config.provider_source import read_source, read_url, warn_shared_paths
from mihomo_tproxy.config.report import Report
from mihomo_tproxy.config.section import Section
from mihomo_tproxy.config.specs.provider import ProviderSpec, Vehicle
from mihomo_tproxy.config.yaml import load_file, load_text

if TYPE_CHECKING:
    from pathlib import Path


def section(text: str) -> Section:
    document = load_text(f"p: {text}")
    assert isinstance(document.value, dict)
    return Section(Report(document, "/nonexistent"), "p", document.value["p"])


def test_a_download() -> None:
    url = "http://a.test/üx"
    digest = hashlib.md5(url.encode(), usedforsecurity=False).hexdigest()
    entry = section(f"{{url: '{url}', interval: -1, size-limit: 5, header: {{A: [b]}}}}")
    assert read_source(entry, Vehicle.HTTP, "rules") == {
        "vehicle": Vehicle.HTTP,
        "path": f"/nonexistent/rules/{digest}",
        "url": "http://a.test/%C3%BCx",
        "interval_s": 0,
        "proxy": "",
        "size_limit": 5,
        "headers": (("A", "b"),),
    }
    assert entry.report.problems == []


def test_an_inline_one_is_nowhere() -> None:
    source = read_source(section("{url: x, path: ../y}"), Vehicle.INLINE, "rules")
    assert source["path"] == source["url"] == ""


@pytest.mark.parametrize("url", ["ftp://a.test", "http://", "http:///x", "x", "http://a b"])
def test_no_url(url: str) -> None:
    entry = section(f"{{url: '{url}'}}")
    assert read_url(entry, "url") == ""
    (problem,) = entry.report.problems
    assert "expected an http or https URL" in problem.message


def test_a_wrong_url_is_named_without_its_secrets() -> None:
    entry = section("{url: 'ftp://me:secret@a.test/sub?token=secret'}")
    read_url(entry, "url")
    (problem,) = entry.report.problems
    assert "a.test/sub" in problem.message
    assert "secret" not in problem.message


def test_paths_that_are_shared() -> None:
    report = section("{}").report
    specs = [
        ProviderSpec("a", Vehicle.HTTP, "/x", "http://a"),
        ProviderSpec("b", Vehicle.HTTP, "/x", "http://a"),
        ProviderSpec("c", Vehicle.HTTP, "/x", "http://c"),
        ProviderSpec("d", Vehicle.FILE, "/x"),
    ]
    warn_shared_paths(report, [("p", spec) for spec in specs])
    assert report.warnings == ["line 1: p.path: the same file as that of 'a', other URL"]


@pytest.mark.parametrize(
    "path", ["config.yaml", "./x/../link.yaml", "mihomo-tproxy.db", "./GeoSite.dat", "geoip.metadb"]
)
def test_a_download_replaces_nothing_else(path: str, tmp_path: Path) -> None:
    home = tmp_path.resolve()
    config = home / "config.yaml"
    config.write_text(f"p: {{path: '{path}', url: 'http://a.test'}}")
    (home / "link.yaml").symlink_to(config)
    report = Report(load_file(str(config)), str(home))
    entry = {"path": path, "url": "http://a.test"}
    assert read_source(Section(report, "p", entry), Vehicle.HTTP, "rules")["path"] == ""
    assert "a download would replace" in report.problems[0].message
    entry["path"] = f"x/{path}"
    assert read_source(Section(report, "p", entry), Vehicle.HTTP, "rules")["path"]
