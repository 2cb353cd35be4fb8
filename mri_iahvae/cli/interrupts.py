"""What ends a command from outside: Ctrl-C, and SIGTERM, which means the same."""

import _thread
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_PAUSE = 0.05  # seconds until a lost interrupt comes again: Python has left the callback that lost it


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM, which schedulers send before they kill, does what Ctrl-C does; and no Ctrl-C is lost.

    Half-written files are removed either way. Outside the main thread, where no signal arrives, nothing changes.

    Raises:
        KeyboardInterrupt: in what runs within, for either signal.
    """
    try:
        handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
    except ValueError:
        yield
        return
    hook = sys.unraisablehook
    sys.unraisablehook = _again(hook)
    try:
        yield
    finally:
        sys.unraisablehook = hook
        signal.signal(signal.SIGTERM, handler)


def _again(hook: Callable[["UnraisableHookArgs"], object]) -> Callable[["UnraisableHookArgs"], object]:
    """A hook that interrupts once more where the interrupt came in a callback that cannot raise.

    Such callbacks are those of weak references, finalizers and the garbage collector: Python prints a traceback of
    what they raise and goes on, so that an interrupted command would run to its end.
    """

    def unraisable(args: "UnraisableHookArgs") -> None:
        if issubclass(args.exc_type, KeyboardInterrupt):
            # Not at once, which would be within the callback again; and not by threading, whose own lock the
            # interrupted code may hold.
            _thread.start_new_thread(interrupt_soon, ())
        else:
            hook(args)

    def interrupt_soon() -> None:
        time.sleep(_PAUSE)
        if sys.unraisablehook is unraisable:  # otherwise the command has ended
            _thread.interrupt_main()

    return unraisable
