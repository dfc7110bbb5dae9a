"""What carries a protocol: TLS, WebSocket, HTTP/2, gRPC, and how they are stacked."""
