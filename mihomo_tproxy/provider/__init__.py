"""What providers bring: rule sets and proxies, from bytes to values. No sockets, no clock."""
