"""The demonstration: a LAN of namespaces, the gateway in it, and traffic through every verdict.

`scenario` says what is sent and where it must go, `flows` sends it, `counters` proves from the
gateway's own counters where it went, `demonstration` joins them. Nothing is printed here.
"""
