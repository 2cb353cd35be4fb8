"""What ends a command from outside: Ctrl-C, and SIGTERM, which means the same. Neither is lost on the way.

Python raises KeyboardInterrupt wherever the program is. In callbacks that cannot raise (of weak references, finalizers,
the garbage collector) it prints a traceback and goes on, and C code that calls Python may turn it into an error of
its own or drop it. So what was asked for is remembered until the command ends.
"""

import _thread
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_PAUSE = 0.05  # seconds until a lost interrupt comes again: Python has left the callback that lost it

_asked = False  # a signal has come, and the command has not ended yet


@contextmanager
def interruptible() -> Iterator[None]:
    """A command: SIGTERM, which schedulers send before they kill, does what Ctrl-C does; nothing outlasts it.

    Half-written files are removed either way. Outside the main thread, where no signal arrives, nothing changes.
    """
    global _asked  # noqa: PLW0603 - as signals are, for the whole process
    handlers = {signal.SIGTERM: signal.getsignal(signal.SIGTERM)}
    if (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ):  # a command in the background ignores it
        handlers[signal.SIGINT] = signal.default_int_handler
    try:
        for number in handlers:
            signal.signal(number, _interrupt)
    except ValueError:
        yield
        return
    hook = sys.unraisablehook
    sys.unraisablehook = _again(hook)
    try:
        with interrupts_kept():
            yield
    finally:
        sys.unraisablehook = hook
        for number, handler in handlers.items():
            signal.signal(number, handler)
        _asked = False


@contextmanager
def interrupts_kept() -> Iterator[None]:
    """Part of a command after which an interrupt that came is raised: libraries may end with another error, or none."""
    try:
        yield
    except Exception as error:
        if _asked:
            raise KeyboardInterrupt from error
        raise
    if _asked:
        raise KeyboardInterrupt


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _asked  # noqa: PLW0603
    _asked = True
    signal.default_int_handler(number, frame)


def _again(hook: Callable[["UnraisableHookArgs"], object]) -> Callable[["UnraisableHookArgs"], object]:
    """A hook that interrupts once more where the interrupt came in a callback that cannot raise."""

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
            _thread.interrupt_main(signal.SIGTERM)  # which is ours also where SIGINT is ignored

    return unraisable
