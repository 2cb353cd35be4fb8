"""SIGINT and SIGTERM during training: the first ends the run after the step at hand, a second one at once."""

import signal
from types import FrameType
from typing import Any, Self

import lightning as L

from mri_iahvae.training.recorder import Recorder


class Interruption(L.Callback):
    """Context within which signals ask a recorder to stop, and the Lightning callback that keeps it so."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        try:
            self._before = {n: signal.signal(n, self._ask) for n in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not in the main thread, where no signal arrives either
            self._before = {}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def on_train_start(self, *_: Any) -> None:  # noqa: ANN401 - Lightning's trainer and module
        """Take SIGTERM back from Lightning, whose handler waits for other processes amid whatever it interrupts."""
        if self._before:
            signal.signal(signal.SIGTERM, self._ask)

    def on_validation_start(self, *_: Any) -> None:  # noqa: ANN401
        """The same where only validation runs."""
        self.on_train_start()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._recorder.stop:
            signal.default_int_handler(number, frame)
        self._recorder.stop = True
