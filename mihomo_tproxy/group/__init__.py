"""Proxy groups: outbounds that pick another one for each flow."""
