"""`socks:// socks5:// socks5h:// http:// https://` as links: user info plain, or in base64.

Escapes within the user info stay as they are, which is how mihomo takes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.provider.links.url import decode_base64, parse_url

if TYPE_CHECKING:
    from mihomo_tproxy.config.yaml import Value
    from mihomo_tproxy.provider.links.names import Names


def convert(link: str, names: Names) -> dict[str, Value]:
    """The mapping of a link. ValueError if there is none in it."""
    url = parse_url(link)
    scheme = link.partition("://")[0].lower()
    if not url.host:
        raise ValueError("no host")
    if not url.port:
        raise ValueError("no port")
    username, password = _credentials(url.user_info)
    proxy: dict[str, Value] = {
        "name": names.take(url.fragment or f"{url.host}:{url.port}"),
        "type": "http" if scheme.startswith("http") else "socks5",
        "server": url.host,
        "port": url.port,
        "username": username,
        "password": password,
    }
    if scheme == "https":
        proxy["tls"] = True
        proxy["skip-cert-verify"] = True
    return proxy


def _credentials(text: str) -> tuple[str, str]:
    try:
        text = decode_base64(text)
    except ValueError:
        pass
    parts = text.split(":")
    return parts[0], parts[1] if len(parts) == 2 else ""
