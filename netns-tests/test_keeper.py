"""The process that checks and downloads: flows do not need it, and it leaves nothing behind."""

from __future__ import annotations

import os
import signal

import pytest
from support.gateway import children_of, is_alive, wait_until
from support.governed import DIRECT, group, staged

OFTEN = {"interval": 1, "lazy": False}
MANY = 4000
"""Proxies enough for their configuration not to fit into a socket's buffer."""


@pytest.fixture(scope="module")
def module_stage(module_rig, tmp_path_factory):
    with staged(module_rig, tmp_path_factory.mktemp("home")) as stage:
        yield stage


@pytest.fixture
def stage(module_stage):
    module_stage.reset()
    return module_stage


@pytest.mark.parametrize("stored", [True, False])
def test_selections_and_restarts(stage, tmp_path, stored):
    groups = group("G", "select", "a", "b", "c"), group("Fixed", "fallback", "a", "b", **OFTEN)
    profile = {"store-selected": stored}
    with stage.another(tmp_path, *groups, profile=profile) as gateway:
        gateway.select("G", "c")
        gateway.select("Fixed", "b")
        gateway.wait_now("Fixed", "b")
        gateway.kill()
        gateway.start()
        gateway.wait_now("Fixed", "b" if stored else "a")
        assert stage.carrier() == ("c" if stored else "a")
        assert (tmp_path / "mihomo-tproxy.db").exists() == stored


def test_killed(stage, tmp_path):
    """Flows go on as it chose last; the next one begins with that, and checks."""
    stage.proxies["a"].alive = False
    with stage.another(tmp_path, group("G", "fallback", "a", "b", **OFTEN)) as gateway:
        gateway.wait_now("G", "b")
        for count in (1, 2):
            os.kill(gateway.keeper(), signal.SIGKILL)
            gateway.wait_log("the keeper died", count)
            assert stage.carrier() == "b"
            wait_until(gateway.keeper, "another keeper")
        stage.proxies["a"].alive = True
        gateway.wait_now("G", "a")
        assert stage.carrier() == "a"
        print("PSS in KiB:", gateway.memory_by_process())


def test_stopped_for_good(stage, tmp_path):
    """One that does not read is replaced once it matters, and is no hindrance before."""
    spec = group("G", "url-test", "a", **OFTEN)
    with stage.another(tmp_path, spec) as gateway:
        wait_until(gateway.keeper, "a keeper")
        old = gateway.keeper()
        os.kill(old, signal.SIGSTOP)
        gateway.reload(stage.config(spec, group("Small", "select", "b", DIRECT)))
        gateway.select("Small", DIRECT)
        assert gateway.keeper() == old
        entry = stage.proxies["a"].entry()
        many = [{**entry, "name": f"a{number}"} for number in range(MANY)]
        gateway.reload(stage.config(spec, proxies=[entry, *many]))
        wait_until(lambda: gateway.keeper() not in (0, old), "another keeper")
        os.kill(gateway.keeper(), signal.SIGSTOP)


def test_a_configuration_without_need_ends_it(stage, tmp_path):
    with stage.another(tmp_path, group("G", "url-test", "a", **OFTEN)) as gateway:
        wait_until(gateway.keeper, "a keeper")
        gateway.reload(stage.config(group("G", "select", "a")))
        wait_until(lambda: not gateway.keeper(), "its end")
        gateway.ask("check", name="a", url=stage.check_url)
        assert gateway.keeper()


def test_nothing_is_left_of_a_download(stage, tmp_path):
    url = stage.web.put("/endless", endless=True)
    provider = {"type": "http", "url": url, "path": "endless.yaml", "interval": 3600}
    with stage.another(
        tmp_path, group("G", "select", "a"), proxy_providers={"P": provider}
    ) as gateway:
        draft = tmp_path / "endless.yaml.download"
        wait_until(lambda: draft.exists() and draft.stat().st_size, "begin of the download")
        processes = children_of(gateway.process.pid)
    assert not any(is_alive(pid) for pid in processes)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["config.yaml"]
