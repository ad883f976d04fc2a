"""The part of the cache that is in the process itself: bounded, and emptied by tag."""

import time
from collections import OrderedDict
from collections.abc import Iterable
from uuid import UUID

__all__ = ["NearLayer", "Slot"]


Key = tuple[UUID, str]


class Slot:
    """A place for a value, from before it is read until it is dropped."""

    __slots__ = ("ends", "key", "tags", "value")

    def __init__(self, key: Key, tags: tuple[str, ...]) -> None:
        self.key = key
        self.tags = tags
        self.value: bytes | None = None
        # On the wall clock, as the entry in Redis says it; 0 until there is a value.
        self.ends = 0.0


class NearLayer:
    """Values by tenant and name, the least recently used dropped first."""

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._slots: OrderedDict[Key, Slot] = OrderedDict()
        self._by_tag: dict[str, set[Key]] = {}

    def find(self, key: Key) -> Slot | None:
        """The slot of this key, if there is a value in it that has not ended."""
        slot = self._slots.get(key)
        if slot is None or slot.ends <= time.time():
            return None
        self._slots.move_to_end(key)
        return slot

    def expect(self, key: Key, tags: tuple[str, ...]) -> Slot:
        """A slot to be filled with what is read from now on; a flush meanwhile takes it away."""
        self._drop(key)
        slot = self._slots[key] = Slot(key, tags)
        for tag in tags:
            self._by_tag.setdefault(tag, set()).add(key)
        if len(self._slots) > self._most:
            self._drop(next(iter(self._slots)))
        return slot

    def fill(self, slot: Slot, value: bytes | None, ends: float) -> None:
        """Put a value into its slot, unless the slot was dropped since it was expected."""
        if self._slots.get(slot.key) is slot:
            slot.value, slot.ends = value, ends

    def flush(self, tags: Iterable[str]) -> None:
        """Drop whatever bears one of these tags."""
        for tag in tags:
            for key in tuple(self._by_tag.get(tag, ())):
                self._drop(key)

    def clear(self) -> None:
        """Drop everything."""
        self._slots.clear()
        self._by_tag.clear()

    def _drop(self, key: Key) -> None:
        slot = self._slots.pop(key, None)
        for tag in slot.tags if slot else ():
            keys = self._by_tag[tag]
            keys.discard(key)
            if not keys:
                del self._by_tag[tag]
