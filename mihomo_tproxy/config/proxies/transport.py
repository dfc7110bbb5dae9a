"""`network` and its `*-opts`, as Trojan, VLESS and VMess have them.

wiki.metacubex.one/config/proxies/transport. Everything that becomes part of a request is checked
here, so that the transports can write it as it is: methods and header names are tokens, values and
paths hold no control characters (RFC 9110, 5).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, quote, urlencode

from mihomo_tproxy.config.section import Section, describe, scalar_text
from mihomo_tproxy.config.specs.transport import GrpcSpec, H2Spec, HttpSpec, WebSocketSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mihomo_tproxy.config.specs.transport import TransportSpec
    from mihomo_tproxy.config.yaml import Value

OPTIONS: Final = {"ws": "ws-opts", "http": "http-opts", "h2": "h2-opts", "grpc": "grpc-opts"}
"""Network -> the key of its options."""
MAX_EARLY_DATA: Final = 65535
"""A header larger than that no server takes."""

_PLAIN: Final = ("", "tcp")
_OTHER_NETWORKS: Final = ("xhttp", "splithttp", "quic", "kcp", "mkcp", "meek", "httpupgrade")
_GRPC_WITHOUT_EFFECT: Final = ("ping-interval", "max-connections", "min-streams", "max-streams")
_EARLY_HEADER: Final = "Sec-WebSocket-Protocol"
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\U0010ffff]*\Z")
_VISIBLE: Final = re.compile(r"[!-~]*\Z")
_PATH_SAFE: Final = "/%:@!$&'()*+,;=~-._"
_HANDSHAKE_HEADERS: Final = frozenset(
    {"connection", "upgrade", "sec-websocket-key", "sec-websocket-version"}
)


def parse_transport(
    section: Section, server: str, allowed: tuple[str, ...]
) -> TransportSpec | None:
    """The transport of an entry, None for plain TCP; what is wrong is reported.

    Args:
        section: the entry.
        server: the Host of requests when the options name none.
        allowed: the networks that the entry's type has, of those in `OPTIONS`.
    """
    network = section.text("network").lower()
    for other, key in OPTIONS.items():
        if section.take(key) is not None and other != network:
            shown = network or "tcp"
            section.report.warning(section.where(key), f"ignored: 'network' is {shown!r}")
    if network in _PLAIN:
        return None
    if network not in allowed:
        _refuse(section, network, allowed)
        return None
    options = Section(
        section.report, section.where(OPTIONS[network]), section.take(OPTIONS[network])
    )
    spec = _PARSERS[network](options, server)
    options.warn_unknown()
    return spec


def _refuse(section: Section, network: str, allowed: tuple[str, ...]) -> None:
    if network in OPTIONS or network in _OTHER_NETWORKS:
        report, message = section.lack, f"network {network!r} is not supported here"
    else:
        report, message = section.problem, f"unknown network {network!r}"
    report("network", f"{message}, expected one of {', '.join(('tcp', *allowed))}")


def _parse_websocket(options: Section, server: str) -> WebSocketSpec:
    early = options.integer("max-early-data", 0, 0, MAX_EARLY_DATA)
    early_header = options.text("early-data-header-name")
    if early_header and not _is_token(early_header):
        options.problem("early-data-header-name", f"{early_header!r} is no header name")
    path, asked = _split_early_data(options.text("path"))
    if asked:
        early, early_header = min(asked, MAX_EARLY_DATA), _EARLY_HEADER
    upgrade = options.boolean("v2ray-http-upgrade", False)
    fast_open = options.boolean("v2ray-http-upgrade-fast-open", False)
    if fast_open and not upgrade:
        options.report.warning(
            options.where("v2ray-http-upgrade-fast-open"), "ignored without 'v2ray-http-upgrade'"
        )
    headers = []
    for name, values in _headers(options):
        if name.lower() in _HANDSHAKE_HEADERS:
            options.problem("headers", f"{name!r} belongs to the handshake")
        headers += [(name, value) for value in values[:1]]
    if not any(name.lower() == "host" for name, _ in headers):
        headers.insert(0, ("Host", bracketed(server)))
    return WebSocketSpec(
        path=_path(path),
        headers=tuple(headers),
        max_early_data=early,
        early_data_header_name=early_header,
        http_upgrade=upgrade,
        http_upgrade_fast_open=upgrade and fast_open,
    )


def _split_early_data(path: str) -> tuple[str, int]:
    """`/path?ed=2048` asks for that much early data; the server sees the path without it."""
    path, mark, query = path.partition("?")
    if not mark:
        return path, 0
    pairs = parse_qsl(query, keep_blank_values=True)
    asked = next((value for name, value in pairs if name == "ed"), "")
    if not asked.isdecimal():
        return f"{path}?{query}", 0
    rest = urlencode([pair for pair in pairs if pair[0] != "ed"])
    return f"{path}?{rest}" if rest else path, int(asked)


def _parse_http(options: Section, server: str) -> HttpSpec:
    method = options.text("method") or "GET"
    if not _is_token(method):
        options.problem("method", f"{method!r} is no HTTP method")
    headers = [(name, values) for name, values in _headers(options) if values]
    if not any(name.lower() == "host" for name, _ in headers):
        headers.insert(0, ("Host", (bracketed(server),)))
    paths = tuple(_path(path) for path in _texts(options, "path")) or ("/",)
    return HttpSpec(method=method, paths=paths, headers=tuple(headers))


def _parse_h2(options: Section, server: str) -> H2Spec:
    hosts = tuple(_texts(options, "host"))
    for host in hosts:
        if not host or not _VISIBLE.match(host):
            options.problem("host", f"{host!r} is no host")
    return H2Spec(hosts=hosts or ("www.example.com",), path=_path(options.text("path")))


def _parse_grpc(options: Section, server: str) -> GrpcSpec:
    ignored = [key for key in _GRPC_WITHOUT_EFFECT if options.take(key) is not None]
    if ignored:
        reason = "each flow has a connection of its own"
        options.report.warning(options.path, f"ignored: {', '.join(ignored)}: {reason}")
    agent = options.text("grpc-user-agent")
    if not agent.isascii() or not _VALUE.match(agent):
        options.problem("grpc-user-agent", "not a header value")
    service = options.text("grpc-service-name")
    if not _VISIBLE.match(service):
        options.problem("grpc-service-name", f"{service!r} is not part of a path")
    return GrpcSpec(service_name=service or "GunService", user_agent=agent)


_PARSERS: Final[dict[str, Callable[[Section, str], TransportSpec]]] = {
    "ws": _parse_websocket,
    "http": _parse_http,
    "h2": _parse_h2,
    "grpc": _parse_grpc,
}


def bracketed(host: str) -> str:
    """A host as a URL or a Host header writes it."""
    return f"[{host}]" if ":" in host else host


def _path(text: str) -> str:
    """A path as a request line writes it: escaped where it must be, from the root."""
    path, mark, query = text.partition("?")
    path = quote(path, safe=_PATH_SAFE)
    query = quote(query, safe=_PATH_SAFE + "?")
    return f"{'' if path.startswith('/') else '/'}{path}{mark}{query}"


def _headers(options: Section) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The entries of `headers`, each a text or a list of them."""
    value = options.take("headers")
    if value is None:
        return
    if not isinstance(value, dict):
        options.problem("headers", f"expected a mapping, found {describe(value)}")
        return
    for name, item in value.items():
        values = _item_texts(item)
        if values is None:
            options.problem(f"headers.{name}", f"expected a text, found {describe(item)}")
        elif not _is_token(name):
            options.problem("headers", f"{name!r} is no header name")
        elif not all(map(_VALUE.match, values)):
            options.problem(f"headers.{name}", "a header value holds no control characters")
        else:
            yield name, values


def _texts(options: Section, key: str) -> tuple[str, ...]:
    """A list of texts; a single text is one of one."""
    value = options.take(key)
    if value is None:
        return ()
    values = _item_texts(value)
    if values is None:
        options.problem(key, f"expected a list of texts, found {describe(value)}")
    return values or ()


def _item_texts(value: Value) -> tuple[str, ...] | None:
    items = value if isinstance(value, list) else [value]
    texts = [scalar_text(item) for item in items]
    found = tuple(text for text in texts if text is not None)
    return found if len(found) == len(texts) else None


def _is_token(text: str) -> bool:
    return _TOKEN.match(text) is not None
