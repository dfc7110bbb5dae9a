"""The only package that knows the kernel: BPF programs and maps, filters, rules, routes.

bcc lives in `loader` (a program of its own), pyroute2 in `netlink` (imported by short-lived
children only): neither is loaded into a process that stays.
"""
