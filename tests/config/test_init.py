"""The two ways into the package."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest

from mihomo_tproxy import config
from mihomo_tproxy.config.schema import Config
from mihomo_tproxy.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def test_load_and_parse_agree(tmp_path: Path) -> None:
    text = "mode: direct\nrules: ['MATCH,DIRECT']\n"
    path = tmp_path / "config.yaml"
    path.write_text(text)
    for found in (config.load(path), config.parse(text), config.load(path)):
        assert isinstance(found, Config)
        assert (found.mode, repr(found.rules)) == ("direct", "(MATCH,DIRECT,)")


def test_a_config_pickles() -> None:
    text = "hosts: {a.b: 1.2.3.4}\nrules: ['DOMAIN-REGEX,x,DIRECT', 'IP-CIDR,::/0,REJECT']\n"
    found = config.parse(text)
    copy = pickle.loads(pickle.dumps(found))  # noqa: S301
    assert repr(copy) == repr(found)


def test_the_error_pickles() -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse("mode: x")
    assert pickle.loads(pickle.dumps(caught.value)).problems == caught.value.problems  # noqa: S301
