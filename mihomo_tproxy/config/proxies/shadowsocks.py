"""`type: ss`: wiki.metacubex.one/config/proxies/ss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from mihomo_tproxy.codec.shadowsocks.ciphers import METHODS, Edition, find_method
from mihomo_tproxy.codec.shadowsocks.profile import parse_password
from mihomo_tproxy.codec.uot import VERSIONS
from mihomo_tproxy.config.proxies.common import parse_server
from mihomo_tproxy.config.report import did_you_mean
from mihomo_tproxy.config.section import Section
from mihomo_tproxy.config.specs.shadowsocks import DEFAULT_OBFS_HOST, ObfsSpec, ShadowsocksSpec

if TYPE_CHECKING:
    from mihomo_tproxy.codec.shadowsocks.ciphers import Method

OBFS_MODES: Final = ("http", "tls")
OTHER_PLUGINS: Final = (
    "v2ray-plugin", "gost-plugin", "shadow-tls", "restls", "kcptun", "jls"
)  # fmt: skip
"""mihomo's plugins that this version does not have."""
OTHER_CIPHERS: Final = frozenset(
    {
        *("aes-128-ccm", "aes-192-ccm", "aes-256-ccm", "aes-128-gcm-siv", "aes-256-gcm-siv"),
        *("aes-128-cfb", "aes-192-cfb", "aes-256-cfb", "aes-128-ctr", "aes-192-ctr", "aes-256-ctr"),
        *("rc4-md5", "chacha20", "chacha20-ietf", "xchacha20", "chacha8-ietf-poly1305"),
        *("xchacha8-ietf-poly1305", "rabbit128-poly1305", "lea-128-gcm", "lea-192-gcm"),
        *("lea-256-gcm", "aegis-128l", "aegis-256", "aez-384", "deoxys-ii-256-128"),
        *("ascon128", "ascon128a", "2022-blake3-aes-128-ccm", "2022-blake3-aes-256-ccm"),
        "2022-blake3-chacha8-poly1305",
    }
)
"""mihomo's ciphers that this version does not have."""


def parse(section: Section, common: dict[str, Any]) -> ShadowsocksSpec:
    """The entry."""
    method = _parse_method(section)
    spec = ShadowsocksSpec(
        **common,
        **parse_server(section),
        cipher=method.name if method is not None else "",
        password=_parse_password(section, method),
        obfs=_parse_plugin(section),
        udp_over_tcp=section.boolean("udp-over-tcp", False),
        udp_over_tcp_version=_parse_version(section),
    )
    if section.take("client-fingerprint") is not None:
        message = "ignored: no plugin that uses it is supported by this version"
        section.report.warning(section.where("client-fingerprint"), message)
    return spec


def _parse_method(section: Section) -> Method | None:
    name = section.text("cipher")
    if not name:
        section.report.problem(section.path, "'cipher' is missing")
        return None
    method = find_method(name)
    if method is None and name.lower() in OTHER_CIPHERS:
        section.lack("cipher", f"the cipher {name!r} is not supported by this version")
    elif method is None:
        near = did_you_mean(name.lower(), METHODS)
        section.problem("cipher", f"expected one of {', '.join(METHODS)}, found {name!r}{near}")
    return method


def _parse_password(section: Section, method: Method | None) -> str:
    password = section.text("password")
    if method is None or method.edition is Edition.NONE:
        return password
    if section.take("password") is None:
        section.report.problem(section.path, "'password' is missing")
        return password
    try:
        parse_password(method, password)
    except ValueError as error:
        section.problem("password", str(error))
    return password


def _parse_version(section: Section) -> int:
    """0 means the default, as mihomo has it."""
    version = section.integer("udp-over-tcp-version", 0, 0, VERSIONS[-1])
    return version or VERSIONS[-1]


def _parse_plugin(section: Section) -> ObfsSpec | None:
    plugin = section.text("plugin")
    value = section.take("plugin-opts")
    if not plugin:
        return None
    if plugin != "obfs":
        if plugin in OTHER_PLUGINS:
            section.lack("plugin", f"{plugin!r} is not supported by this version")
        else:
            near = did_you_mean(plugin, ["obfs", *OTHER_PLUGINS])
            section.problem("plugin", f"unknown plugin {plugin!r}{near}")
        return None
    options = Section(section.report, section.where("plugin-opts"), value)
    mode = options.text("mode")
    host = options.text("host", DEFAULT_OBFS_HOST)
    options.warn_unknown()
    if mode not in OBFS_MODES:
        options.problem("mode", f"expected one of {', '.join(OBFS_MODES)}, found {mode!r}")
    if not host.isascii() or not host.isprintable() or " " in host:
        options.problem("host", f"not a host name: {host!r}")
    return ObfsSpec(mode, host)
