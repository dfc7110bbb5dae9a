"""From a route to a flow: dial, then layers, for a client that is already here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.net.layered import LayeredFlow, refuse
from mihomo_tproxy.net.relay import Flow
from mihomo_tproxy.net.sockopt import cause_of, reset_on_close
from mihomo_tproxy.transport.stack import Stack

if TYPE_CHECKING:
    from socket import SocketType

    from mihomo_tproxy.net.relay import RelayContext
    from mihomo_tproxy.net.tracker import Tracker, Traffic
    from mihomo_tproxy.outbound.base import Answer, Route


def open_flow(
    context: RelayContext, client: SocketType, route: Route, traffic: Traffic, answer: Answer | None
) -> None:
    """Take the client over and connect it by the route; failures are told, and counted."""
    context.tracker.flow_opened(traffic)
    opening = Opening(context, client, route, traffic, answer)
    route.dialer.dial(route.host, route.port, opening.on_dialled)


class Opening:
    """A flow that does not have its server's socket yet."""

    __slots__ = ("_answer", "_client", "_context", "_route", "_traffic")

    def __init__(
        self,
        context: RelayContext,
        client: SocketType,
        route: Route,
        traffic: Traffic,
        answer: Answer | None,
    ) -> None:
        self._context = context
        self._client = client
        self._route = route
        self._traffic = traffic
        self._answer = answer

    def on_dialled(self, server: SocketType | None, cause: str) -> None:
        """The dialer has a socket, or says why not."""
        if server is not None:
            layers = self._route.layers
            try:
                if layers or self._answer is not None:
                    LayeredFlow(
                        self._context,
                        self._client,
                        server,
                        self._traffic,
                        Stack(layers),
                        self._answer,
                    )
                else:
                    Flow(self._context, self._client, server, self._traffic)
            except OSError as error:
                server.close()
                cause = cause_of(error.errno, "dial")
            else:
                return
        self._traffic.failed += 1
        turn_away(self._context.tracker, self._client, self._answer, cause)
        self._context.tracker.flow_closed(self._traffic, "")


def turn_away(tracker: Tracker, client: SocketType, answer: Answer | None, cause: str) -> None:
    """Close a client that gets no flow, with words if its protocol has them, else by RST."""
    tracker.count(cause)
    if answer is not None:
        refuse(client, answer, cause)
    else:
        reset_on_close(client)
    client.close()
