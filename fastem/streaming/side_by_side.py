"""Blocks that are soon there: two are at work at a time, so that no core waits while one of them is read or ends."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Lock, Semaphore, Thread
from typing import TypeVar

from fastem.data.sources import AT_WORK

T = TypeVar("T")
R = TypeVar("R")


def side_by_side(items: Generator[T, None, None], work: Callable[[T], R]) -> Generator[R, None, None]:
    """What ``work`` makes of each item, in their order.

    As many threads as items may be in use make the items, one at a time, and work on them: where one waits for a disk,
    or for the last panels of its block, the other one's panels keep the cores busy. Errors are raised in their place.
    """
    slots: SimpleQueue[Future[tuple[R] | None]] = SimpleQueue()
    places = Semaphore(AT_WORK)
    turn = Lock()
    ended = False

    def take() -> None:
        slot: Future[tuple[R] | None] = Future()
        try:
            while True:
                with turn:
                    places.acquire()
                    if ended:
                        return
                    slots.put(slot)
                    item = next(items, None)
                if item is None:
                    slot.set_result(None)
                    return
                result = work(item)
                # Its memory is given back before another one is made.
                item = None
                slot.set_result((result,))
                slot = Future()
        except BaseException as error:
            slot.set_exception(error)

    for _ in range(AT_WORK):
        Thread(target=take, name="fastem-pass", daemon=True).start()
    try:
        while (found := slots.get().result()) is not None:
            places.release()
            yield found[0]
    finally:
        ended = True
        places.release(AT_WORK)
        # Not in the middle of a read; what a thread still works on, nobody waits for.
        with turn:
            items.close()
