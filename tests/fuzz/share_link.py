"""Share links: one of each scheme, and a list."""

from __future__ import annotations

from base64 import b64encode

from mihomo_tproxy.provider.links import SCHEMES, convert_link, convert_links
from mihomo_tproxy.provider.links.names import Names


def target(data: bytes) -> None:
    """Nothing but a ValueError escapes; every proxy has a name that is text."""
    text = data.decode("utf-8", "replace")
    bodies = (text, b64encode(data).decode(), f"{text}@a.test:1?{text}#{text}")
    for scheme in SCHEMES:
        for body in bodies:
            try:
                proxy = convert_link(f"{scheme}://{body}", Names())
            except ValueError:
                continue
            str(proxy["name"]).encode()
    links = convert_links(text, 3)
    assert len(links.proxies) <= 3
