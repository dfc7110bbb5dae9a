"""Names of what one list of links brings: a name that comes again gets `-01`, `-02`, ..."""

from __future__ import annotations


class Names:
    """The names taken so far, as mihomo counts them: by link, also where the link is bad later."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def take(self, name: str) -> str:
        """The name, numbered if it was taken before."""
        number = self._seen.get(name)
        if number is None:
            self._seen[name] = 0
            return name
        self._seen[name] = number + 1
        return f"{name}-{number + 1:02d}"
