"""What the tests of proxies found: the last ten of each proxy and URL, and of each proxy."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from mihomo_tproxy.keeper.store import StoredDelay

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

DEPTH: Final = 10
"""As mihomo keeps."""


class Sample(NamedTuple):
    """One test."""

    at: float
    """Unix time."""
    delay_ms: int
    """0 without an answer."""
    status: int
    """Of the answer, 0 without one."""


class History:
    """The samples of everything that was ever tested, and still exists."""

    def __init__(self) -> None:
        self._by_url: dict[tuple[str, str], deque[Sample]] = {}
        self._by_name: dict[str, deque[Sample]] = {}

    def add(self, name: str, url: str, sample: Sample) -> None:
        """One more test of a proxy with a URL."""
        for samples in (
            self._by_url.setdefault((name, url), deque(maxlen=DEPTH)),
            self._by_name.setdefault(name, deque(maxlen=DEPTH)),
        ):
            samples.append(sample)

    def last(self, name: str, url: str) -> Sample | None:
        """The last test of a proxy with a URL."""
        samples = self._by_url.get((name, url))
        return samples[-1] if samples else None

    def of(self, name: str, url: str) -> tuple[Sample, ...]:
        """The last tests of a proxy with a URL, oldest first."""
        return tuple(self._by_url.get((name, url), ()))

    def retain(self, names: Container[str]) -> None:
        """Forget every other proxy."""
        self._by_url = {key: kept for key, kept in self._by_url.items() if key[0] in names}
        self._by_name = {name: kept for name, kept in self._by_name.items() if name in names}

    def snapshot(self) -> dict[str, list[tuple[float, int]]]:
        """Of each proxy its last tests, with whatever URL: time and delay, oldest first."""
        return {
            name: [(sample.at, sample.delay_ms) for sample in samples]
            for name, samples in self._by_name.items()
        }

    def stored(self) -> list[StoredDelay]:
        """The last test of each proxy and URL, to be kept over a restart."""
        return [
            StoredDelay(name, url, *samples[-1]) for (name, url), samples in self._by_url.items()
        ]

    def restore(self, delays: Iterable[StoredDelay]) -> None:
        """Begin with what an earlier process found."""
        for proxy, url, at, delay_ms, status in sorted(delays, key=lambda each: each.at):
            self.add(proxy, url, Sample(at, delay_ms, status))
