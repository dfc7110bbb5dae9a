"""A transparent proxy gateway for Linux that reads mihomo's configuration."""

__version__ = "0.1.0"
