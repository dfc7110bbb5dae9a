"""VMess with AEAD headers (alterId 0), client side: www.v2fly.org/developer/protocols/vmess.html.

    request     auth id 16 | length 2+16 | nonce 8 | instruction n+16 | body
    response    length 2+16 | header n+16 | body

`kdf` derives every key of the headers, `header` writes the request's and opens the response's,
`body` is the stream of chunks, `layer` joins them.
"""
