"""What is said while one waits."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

__all__ = ["announced", "clock"]


@contextlib.contextmanager
def announced(say: Callable[[str], object], what: str, after: float = 10.0, every: float = 60.0) -> Iterator[None]:
    """Says that work goes on, for as long as the block takes; of short work nothing is said.

    Args:
        say: Called with each line, in a thread of its own.
        what: What is done, such as "Opening photos".
        after: Seconds until the first line.
        every: Seconds from one line to the next.
    """
    done, began = threading.Event(), time.monotonic()

    def watch() -> None:
        wait = after
        while not done.wait(wait):
            say(f"{what}: {clock(time.monotonic() - began)} so far.")
            wait = every

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def clock(seconds: float) -> str:
    """Returns a duration as `m:ss`, `h:mm:ss` or days."""
    whole = int(seconds)
    if whole >= 86_400:
        return f"{seconds / 86_400:.1f} days"
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
