"""Shadowsocks, client side: AEAD ciphers (SIP004, SIP007) and the 2022 edition (SIP022, SIP023).

    SIP004   salt | records                                     both ways, first payload: address
    SIP022   salt | identities | fixed header | header | records             request
             salt | fixed header | payload | records                         response

`ciphers` is the table of methods, `kdf` derives keys, `profile` holds what one server's
connections share, `records` is the stream of records, `aead`, `aead2022` and `plain` are the stream
layers, `udp` and `udp2022` the datagrams, `replay` the window of a server's packets, and `editions`
chooses by method.

Causes: ss-auth-failed, ss-bad-header, ss-bad-name, ss-cut-short, ss-no-answer, ss-replay,
ss-timestamp, ss-too-long, ss-udp-session.
"""
