"""A gateway that runs, as far as commands can tell."""

from __future__ import annotations

from typing import Any

from mihomo_tproxy.cli import govern
from mihomo_tproxy.errors import GatewayError


def group(name: str, kind: str, now: str | None, *members: str, **more: Any) -> dict[str, Any]:
    """A group as the supervisor describes it."""
    found = {"name": name, "type": kind, "now": now, "members": list(members)}
    return {**found, "dead": [], "hidden": False, **more}


class Gateway:
    """Answers commands from a table, and notes them."""

    def __init__(self, monkeypatch) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answers: dict[str, Any] = {}
        monkeypatch.setattr(govern, "ask", self.ask)

    def ask(self, path: str, request: dict[str, Any]) -> dict[str, Any]:
        assert path.endswith(".sock")
        self.asked.append(request)
        answer = self.answers[request["command"]]
        if isinstance(answer, str):
            raise GatewayError(answer)
        return answer
