"""What is done when something asks the process to end."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["ASKED", "NOTICES", "Ending", "tell"]


def _known(*names: str) -> tuple[signal.Signals, ...]:
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


# Sent by someone who may not want to wait, and then sends another. SIGBREAK is Windows's, also where a window closes or
# the user logs off. SIGQUIT is left alone: it asks for a core, and is what still ends a process that hangs.
ASKED = _known("SIGINT", "SIGTERM", "SIGBREAK")
# Sent ahead of the end, often more than once: where a terminal closes, by schedulers before a time limit
# (`sbatch --signal=USR1@60`, `qsub -notify`), at the limit of processor time.
NOTICES = _known("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")


class Ending:
    """Calls a function on the first signal that asks the process to end.

    A second of `ASKED` does what it did before. A further one of `NOTICES` does nothing, as what the first has begun
    may take a while. What is ignored stays ignored, as under `nohup`, and a notice that someone else waits for stays
    theirs. Outside of the main thread there are no handlers: Python allows them there alone.

    Args:
        act: Called with the signal's number, where the main thread is.

    Attributes:
        received: The first signal since `install`, or None.
    """

    def __init__(self, act: Callable[[int], object]) -> None:
        self.received: int | None = None
        self._act = act
        self._previous: dict[int, Any] = {}

    def install(self) -> None:
        """Takes the signals."""
        self.received = None
        if threading.current_thread() is not threading.main_thread():
            return
        for signum in (*ASKED, *NOTICES):
            before = signal.getsignal(signum)
            theirs = signum in NOTICES and before != signal.SIG_DFL and not isinstance(before, Ending)
            if before not in (signal.SIG_IGN, None, self) and not theirs:
                self._previous[signum] = signal.signal(signum, self)

    def restore(self, *signums: int) -> None:
        """Gives signals back, all where none is named; a second call does nothing."""
        for signum in signums or tuple(self._previous):
            if signum in self._previous:
                signal.signal(signum, self._previous.pop(signum))

    def __call__(self, signum: int, frame: Any) -> None:
        """Receives a signal."""
        if signum in ASKED:
            self.restore(*ASKED)
        if self.received is None:
            self.received = signum
            self._act(signum)


def tell(text: str) -> None:
    """Writes a line to standard error, if there is one still: a terminal that closes takes it along."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)
