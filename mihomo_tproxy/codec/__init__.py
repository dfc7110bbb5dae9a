"""Protocols without sockets: bytes in, bytes and events out. No clock, no I/O, no logging."""
