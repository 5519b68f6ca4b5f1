"""A thread that reads the next block while the kernels work on this one."""

from __future__ import annotations

from collections.abc import Generator
from queue import SimpleQueue
from threading import Semaphore, Thread
from typing import TypeVar

T = TypeVar("T")

#: Items of a generator that are alive at a time: one in use, one that waits, one that is being made.
ALIVE = 3
#: Items that may be in use at a time where no thread reads ahead, the one that is being made included.
AT_WORK = 2


def read_ahead(items: Generator[T, None, None]) -> Generator[T, None, None]:
    """The items, each made while the one before is in use; errors are raised where the items are taken."""
    ready: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()
    places = Semaphore(ALIVE - 2)
    ended = False

    def read() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                ready.put((item, None))
                places.acquire()
                if ended:
                    break
        except BaseException as raised:
            error = raised
        finally:
            items.close()
            ready.put((None, error))

    thread = Thread(target=read, name="fastem-reader", daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is None:
                return
            places.release()
            yield item
            item = None
    finally:
        ended = True
        places.release()
        thread.join()
