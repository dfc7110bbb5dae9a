"""The typed result: defaults, and that nothing can change it."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from mihomo_tproxy.config.schema import Config, Gateway


def test_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Config().ipv6 = False  # type: ignore[misc]


def test_defaults() -> None:
    config = Config()
    assert (config.mode, config.log_level, config.bind_address) == ("rule", "info", "*")
    assert config.ipv6
    assert not config.allow_lan
    assert (Gateway().on_failure, Gateway().workers, Gateway().udp_timeout) == ("open", 1, 60)
