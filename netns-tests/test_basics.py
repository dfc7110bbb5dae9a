"""What a gateway must leave alone, and who is steered at all."""

from __future__ import annotations

import pytest
from support.gateway import Gateway


def talk(node, address, port, data):
    """Sends `data`, ends the sending side, and returns all that comes back."""
    with node.connect(address, port) as sock:
        sock.sendall(data)
        sock.shutdown(1)
        answer = b""
        while chunk := sock.recv(65_536):
            answer += chunk
        return answer


@pytest.mark.parametrize("version", [4, 6])
def test_smoke(module_rig, version):
    rig = module_rig
    rig.servers  # noqa: B018
    with Gateway(rig, {"rules": ["DST-PORT,1,REJECT", "MATCH,DIRECT"]}) as gateway:
        before = gateway.routes()
        assert talk(rig.clients[0], rig.destination(1, version), 7, b"hello") == b"hello"
        print(gateway.since(before))
        before = gateway.routes()
        assert talk(rig.clients[0], rig.destination(1, version), 7, b"hello") == b"hello"
        print(gateway.since(before))
        print(gateway.memory_kib(), gateway.workers())
        gateway.reload({"rules": ["DST-PORT,2,REJECT", "MATCH,DIRECT"]})
        gateway.reload("rules: [", fails=True)
