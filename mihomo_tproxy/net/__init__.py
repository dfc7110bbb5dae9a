"""Sockets and their readiness: the flow reactor, the TCP relay, pipes, options, ICMP answers."""
