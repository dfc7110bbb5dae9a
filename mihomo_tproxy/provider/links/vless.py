"""`vless://UUID@HOST:PORT?...#NAME`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.provider.links.share import convert_share
from mihomo_tproxy.provider.links.url import decode_base64, parse_url

if TYPE_CHECKING:
    from mihomo_tproxy.config.yaml import Value
    from mihomo_tproxy.provider.links.names import Names


def convert(link: str, names: Names) -> dict[str, Value]:
    """The mapping of a link; host and port may be in base64. ValueError if there is none in it."""
    url = parse_url(link)
    try:
        url = url._replace(authority=decode_base64(url.authority))
    except ValueError:
        pass
    proxy = convert_share(url, "vless", names)
    if url.query.get("flow"):
        proxy["flow"] = url.query["flow"].lower()
    if url.query.get("encryption"):
        proxy["encryption"] = url.query["encryption"]
    return proxy
