"""Layers on top of each other, driven as one.

    payload --- layers[-1] --- ... --- layers[0] --- wire

Each layer begins when the one below is ready; what a layer says of its own accord is sealed by
those below it. A layer that became transparent leaves the list, so a stack whose layers all did
costs nothing and may be taken out of the way itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mihomo_tproxy.codec.layer import Layer

if TYPE_CHECKING:
    from mihomo_tproxy.codec.layer import Buffer


class Stack(Layer):
    """Any number of layers as one; takes the list over."""

    __slots__ = ("_begun", "_layers", "ends_below", "tells_end")

    def __init__(self, layers: list[Layer]) -> None:
        super().__init__()
        self._layers = layers
        self._begun = 0
        self.ready = self.transparent = not layers
        self.ends_below = self.tells_end = True

    def begin(self) -> None:
        """The wire is there."""
        self._begin_next()
        self._drop_transparent()

    def feed(self, data: Buffer) -> Buffer:
        """Take wire bytes through all layers; the payload in them.

        Raises:
            ProtocolError: of any layer.
        """
        gone = blocked = False
        ended_at = 0
        for index, layer in enumerate(self._layers, 1):
            if data:
                data = layer.feed(data)
            if layer.output:
                self._collect(index - 1)
            if layer.ended and not ended_at:
                ended_at = index
            gone = gone or layer.transparent
            blocked = blocked or layer.blocked
            if index == self._begun and not self.ready and layer.ready:
                self._begin_next()
                gone = True
            if index >= self._begun:
                break
        self.blocked = blocked
        if ended_at and not self.ended:
            self._end_above(ended_at)
        if gone:
            self._drop_transparent()
        return data

    def feed_eof(self) -> None:
        """The wire ended.

        Raises:
            ProtocolError: a layer was in the middle of something.
        """
        for layer in self._layers[: self._begun]:
            layer.feed_eof()

    def seal(self, payload: Buffer) -> Buffer:
        """The wire bytes of payload.

        Raises:
            ProtocolError: a layer cannot say it.
        """
        gone = blocked = False
        for layer in reversed(self._layers):
            payload = layer.seal(payload)
            gone = gone or layer.transparent
            blocked = blocked or layer.blocked
        self.blocked = blocked
        if gone:
            self._drop_transparent()
        return payload

    def finish(self) -> Buffer:
        """The last bytes of our side; `ends_below` and `tells_end` then hold for all layers."""
        wire: Buffer = b""
        ending = True
        for layer in reversed(self._layers):
            if wire:
                wire = layer.seal(wire)
            if ending:
                wire = bytes(wire) + bytes(layer.finish())
                ending = layer.ends_below
        self.ends_below = ending
        self.tells_end = all(layer.tells_end for layer in self._layers)
        return wire

    def _begin_next(self) -> None:
        """Begin layers for as long as each is ready at once."""
        while self._begun < len(self._layers):
            layer = self._layers[self._begun]
            self._begun += 1
            layer.begin()
            if layer.output:
                self._collect(self._begun - 1)
            if not layer.ready:
                return
        self.ready = True
        self.blocked = any(layer.blocked for layer in self._layers)

    def _collect(self, index: int) -> None:
        """Put what a layer says on the wire, through those below it."""
        layer = self._layers[index]
        wire: Buffer = layer.output
        layer.output = b""
        for below in self._layers[index - 1 :: -1] if index else ():
            wire = below.seal(wire)
        self.output += wire

    def _end_above(self, index: int) -> None:
        """Below `index` a peer said that nothing follows: for those above the wire has ended."""
        self.ended = True
        for above in self._layers[index : self._begun]:
            above.feed_eof()

    def _drop_transparent(self) -> None:
        begun = self._layers[: self._begun]
        kept = [layer for layer in begun if not layer.transparent]
        self._layers = kept + self._layers[self._begun :]
        self._begun = len(kept)
        self.transparent = self.ready and not self._layers
