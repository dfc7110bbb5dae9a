"""The process beside the relays: health checks, downloads, what survives a restart."""
