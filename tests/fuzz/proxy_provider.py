"""Files of proxy providers."""

from __future__ import annotations

from base64 import b64encode

from mihomo_tproxy.provider.proxy_content import Parsing, parse_content

PARSING = Parsing(
    filter="a`", renames=(("a", "$0"),), options=(("udp", True), ("skip-cert-verify", True))
)


def target(data: bytes) -> None:
    """Nothing but a ValueError escapes; names are there, once each as the file has them."""
    for content in (data, b64encode(data), b"proxies:\n- name: a\n  " + data):
        try:
            brought = parse_content(content, PARSING)
        except ValueError:
            continue
        assert all(spec.name for spec in brought.proxies)
