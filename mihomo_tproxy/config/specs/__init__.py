"""The entries of `proxies`, typed: one frozen, picklable dataclass for each type.

A worker unpickles them, so they import nothing of the parser's. Names are mihomo's keys with `_`
for `-`; every field has mihomo's default.
"""
