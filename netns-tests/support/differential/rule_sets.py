"""Random rule providers of each behaviour and format, with their files."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any, Final

from peers import mihomo_binary
from support.differential.random_rules import Aim, Piece, Pieces, edges, random_prefix

if TYPE_CHECKING:
    from pathlib import Path

FORMS: Final = (
    *(("domain", form) for form in ("inline", "yaml", "text", "mrs")),
    *(("ipcidr", form) for form in ("inline", "yaml", "text", "mrs")),
    *(("classical", form) for form in ("inline", "yaml", "text")),
)
ENTRIES: Final = 6
_CLASSICAL: Final = (
    *("DOMAIN", "DOMAIN-SUFFIX", "DOMAIN-KEYWORD", "DOMAIN-REGEX", "DOMAIN-WILDCARD"),
    *("IP-CIDR", "IP-CIDR6", "DST-PORT", "SRC-PORT"),
)


class RuleSets:
    """Providers, their files in a home directory, and rules that name them."""

    def __init__(self, pieces: Pieces, home: Path) -> None:
        self._pieces = pieces
        self._home = home
        self.providers: dict[str, dict[str, Any]] = {}
        self._aims: dict[str, list[Aim]] = {}
        for behavior, form in FORMS:
            self._add(f"{behavior}-{form}", behavior, form)

    def any(self) -> Piece:
        """RULE-SET with one of them."""
        random = self._pieces.random
        name = random.choice(list(self.providers))
        aims = random.sample(self._aims[name], len(self._aims[name]))
        option = "no-resolve" if "domain" not in name and random.random() < 0.3 else ""
        return Piece("RULE-SET", name, aims, option)

    def _add(self, name: str, behavior: str, form: str) -> None:
        make = {"domain": self._domain, "ipcidr": self._ipcidr, "classical": self._classical}
        entries, aims = [], []
        for _ in range(ENTRIES):
            entry, found = make[behavior]()
            entries.append(entry)
            aims += found
        self._aims[name] = aims
        provider: dict[str, Any] = {"type": "file", "behavior": behavior, "format": form}
        if form == "inline":
            provider = {"type": "inline", "behavior": behavior, "payload": entries}
        else:
            provider["path"] = f"./{self._write(name, behavior, form, entries)}"
        self.providers[name] = provider

    def _write(self, name: str, behavior: str, form: str, entries: list[str]) -> str:
        text = self._home / f"{name}.txt"
        text.write_text("# a comment\n" + "\n".join(entries) + "\n", encoding="utf-8")
        if form == "yaml":
            lines = [f"  - '{entry}'" for entry in entries]
            file = self._home / f"{name}.yaml"
            file.write_text("payload:\n" + "\n".join(lines) + "\n", encoding="utf-8")
        elif form == "mrs":
            file = self._home / f"{name}.mrs"
            command = [str(mihomo_binary()), "convert-ruleset", behavior, "text", str(text)]
            subprocess.run([*command, str(file)], check=True, capture_output=True, timeout=20)
        else:
            file = text
        return file.name

    def _domain(self) -> tuple[str, list[Aim]]:
        name = self._pieces.name()
        shape = self._pieces.random.choice(("", "+.", ".", "*."))
        hosts = (name, f"a.{name}", f"a.b.{name}", f"x{name}", name.partition(".")[2])
        return f"{shape}{name}", [{"host": host} for host in hosts]

    def _ipcidr(self) -> tuple[str, list[Aim]]:
        prefix = random_prefix(self._pieces, self._pieces.random.choice((4, 6)))
        return prefix, [{"host": self._pieces.by_name(each)} for each in edges(prefix)]

    def _classical(self) -> tuple[str, list[Aim]]:
        piece = self._pieces.any(_CLASSICAL)
        return piece.text, piece.aims
