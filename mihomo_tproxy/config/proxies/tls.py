"""TLS keys, as every type that has TLS reads them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from mihomo_tproxy.config.specs.tls import TlsSpec

if TYPE_CHECKING:
    from mihomo_tproxy.config.report import Report
    from mihomo_tproxy.config.section import Section

BROWSERS: Final = frozenset(
    {"chrome", "firefox", "safari", "ios", "android", "edge", "360", "qq", "random", "randomized"}
)
DISGUISES: Final = {
    "reality-opts": "REALITY",
    "ech-opts": "encrypted client hello",
    "shadow-tls-opts": "ShadowTLS",
    "restls-opts": "Restls",
    "jls-opts": "JLS",
}
"""Keys of what is not TLS as OpenSSL does it, with their names."""
MAX_ALPN_BYTES: Final = 255
MAX_PEM_BYTES: Final = 1 << 20
_KEYS: Final = (
    *("alpn", "skip-cert-verify", "name-cert-verify", "fingerprint", "client-fingerprint"),
    *("certificate", "private-key"),
    *DISGUISES,
)
_NOT_A_BROWSER: Final = (
    "client-fingerprint is ignored: the TLS client hello is OpenSSL's, not a browser's"
)


def parse_tls(
    section: Section,
    default_name: str,
    *,
    name_key: str = "sni",
    default_alpn: tuple[str, ...] = (),
) -> TlsSpec:
    """The TLS of an entry that uses it.

    Args:
        section: the entry.
        default_name: the name to send and to check when the entry has none.
        name_key: `sni` or `servername`, as mihomo calls it for the type.
        default_alpn: what mihomo offers when the entry does not say; `alpn: []` offers nothing.
    """
    _refuse_disguises(section)
    if section.text("client-fingerprint") not in ("", "none"):
        warn_client_fingerprint(section.report)
    certificate, private_key = _identity(section)
    return TlsSpec(
        server_name=_name(section, name_key, default_name),
        alpn=_alpn(section, default_alpn),
        skip_cert_verify=section.boolean("skip-cert-verify", False),
        name_cert_verify=_name(section, "name-cert-verify", ""),
        fingerprint=_fingerprint(section),
        certificate=certificate,
        private_key=private_key,
    )


def parse_switched_tls(
    section: Section,
    default_name: str,
    *,
    name_key: str = "sni",
    default_alpn: tuple[str, ...] = (),
) -> TlsSpec | None:
    """The TLS of an entry whose type has `tls: true`; None without, whatever else it says."""
    if section.boolean("tls", False):
        return parse_tls(section, default_name, name_key=name_key, default_alpn=default_alpn)
    unused = [key for key in (name_key, *_KEYS) if section.take(key) is not None]
    if unused:
        message = f"no effect without 'tls: true': {', '.join(unused)}"
        section.report.warning(section.path, message)
    return None


def warn_client_fingerprint(report: Report) -> None:
    """Warn, once for the file, that the client hello cannot be dressed up."""
    if _NOT_A_BROWSER not in report.warnings:
        report.general_warning(_NOT_A_BROWSER)


def _refuse_disguises(section: Section) -> None:
    for key, name in DISGUISES.items():
        value = section.take(key)
        if isinstance(value, dict) and (
            not any(value.values()) or (key == "ech-opts" and not value.get("enable"))
        ):
            continue
        if value is not None:
            section.lack(key, f"{name} is not supported by this version")


def _name(section: Section, key: str, default: str) -> str:
    name = section.text(key) or default
    try:
        name.encode("idna")
    except UnicodeError:
        section.problem(key, f"not a host name: {name!r}")
        return ""
    if name.startswith(".") or "\0" in name:
        section.problem(key, f"not a host name: {name!r}")
        return ""
    return name


def _alpn(section: Section, default: tuple[str, ...]) -> tuple[str, ...]:
    if section.take("alpn") is None:
        return default
    names: list[str] = []
    for path, name in section.texts("alpn"):
        if name.isascii() and 0 < len(name) <= MAX_ALPN_BYTES:
            names.append(name)
        else:
            section.report.problem(path, "expected 1 to 255 ASCII characters")
    return tuple(names)


def _fingerprint(section: Section) -> bytes:
    text = section.text("fingerprint").strip()
    if text in BROWSERS:
        message = "expected the SHA-256 of a certificate; a browser goes into 'client-fingerprint'"
        section.problem("fingerprint", message)
        return b""
    try:
        digest = bytes.fromhex(text.replace(":", ""))
    except ValueError:
        digest = b"?"
    if len(digest) not in (0, 32):
        section.problem("fingerprint", "expected the SHA-256 of a certificate, 64 hex digits")
        return b""
    return digest


def _identity(section: Section) -> tuple[str, str]:
    """Certificate and private key as PEM texts, both "" when absent or wrong."""
    certificate = _pem(section, "certificate")
    private_key = _pem(section, "private-key")
    if certificate is None or private_key is None:
        return "", ""
    if not certificate or not private_key:
        if certificate or private_key:
            missing = "private-key" if certificate else "certificate"
            section.problem("certificate" if certificate else "private-key", f"{missing!r} missing")
        return "", ""
    # Only here OpenSSL is needed to read a configuration.
    from mihomo_tproxy.transport.certificates import identity_problem

    if problem := identity_problem(certificate, private_key):
        section.problem("certificate", f"cannot be used with its 'private-key': {problem}")
        return "", ""
    return certificate, private_key


def _pem(section: Section, key: str) -> str | None:
    """The PEM text a key has or names the file of; "" when absent, None when reported."""
    text = section.text(key)
    if not text or "-----BEGIN " in text:
        return text
    try:
        with Path(text).open("rb") as file:
            return file.read(MAX_PEM_BYTES).decode()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a PEM file"
        section.problem(key, f"neither PEM text nor a readable file: {reason}")
        return None
