"""The words every other package speaks: values only, no sockets, no clock, no logging."""
