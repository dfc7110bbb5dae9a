"""Counters add up and leave as plain values."""

from __future__ import annotations

from mihomo_tproxy.model.enums import Network
from mihomo_tproxy.net.tracker import Tracker


def test_flows_and_sessions():
    tracker = Tracker()
    tcp = tracker.traffic("DIRECT", Network.TCP)
    udp = tracker.traffic("DIRECT", Network.UDP)
    assert tracker.traffic("DIRECT", Network.TCP) is tcp
    assert tcp is not udp
    tracker.flow_opened(tcp)
    tracker.flow_opened(tcp)
    tracker.session_opened(udp)
    tracker.flow_closed(tcp, "dial-refused")
    assert (tracker.tcp_live, tracker.udp_live) == (1, 1)
    tracker.flow_closed(tcp, "")
    tracker.session_closed(udp)
    assert (tracker.tcp_live, tracker.udp_live) == (0, 0)
    assert tracker.errors == {"dial-refused": 1}


def test_snapshot_is_a_copy():
    tracker = Tracker()
    tracker.count("loop")
    traffic = tracker.traffic("REJECT", Network.UDP)
    traffic.up = 7
    snapshot = tracker.snapshot()
    tracker.count("loop")
    traffic.up = 8
    assert snapshot["errors"] == {"loop": 1}
    assert snapshot["targets"] == [
        {
            "target": "REJECT",
            "network": "udp",
            "opened": 0,
            "closed": 0,
            "up_bytes": 7,
            "down_bytes": 0,
        }
    ]
