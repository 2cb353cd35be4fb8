import os
import signal
import sys
import time
import weakref

import pytest
from click.testing import CliRunner

from mri_iahvae.cli import main
from mri_iahvae.cli.interrupts import interruptible


class Thing:
    pass


def call_back(callback):
    """Run a function where it cannot raise: Python loses an interrupt that comes within."""
    thing = Thing()
    reference = weakref.ref(thing, lambda _: callback())
    del thing
    assert reference() is None


@pytest.fixture
def example(monkeypatch):
    """Runs a function as the work of a command."""

    def run(work):
        monkeypatch.setattr("mri_iahvae.tasks.simulate.write_example", lambda *_, **__: work())
        return CliRunner().invoke(main, ["example"])

    return run


def test_termination_is_as_ctrl_c(example):
    """Files are closed and removed on the way out, and the signal means again what it meant before."""
    before, seen = signal.getsignal(signal.SIGTERM), []

    def terminated():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        finally:
            seen.append("closed")

    result = example(terminated)
    assert (result.exit_code, result.stderr, seen) == (130, "Interrupted\n", ["closed"])
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(("number", "then"), [(signal.SIGINT, 10), (signal.SIGTERM, 10), (signal.SIGINT, 0)])
def test_either_signal_comes_again_and_nothing_after_the_command(number, then):
    hook = sys.unraisablehook

    @interruptible()
    def work():
        call_back(lambda: os.kill(os.getpid(), number))
        time.sleep(then)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert sys.unraisablehook is hook
    time.sleep(0.2)
    with pytest.raises(ValueError, match="own"), interruptible():
        raise ValueError("own")  # of the next command


def test_commands_in_the_background_ignore_ctrl_c():
    """Shells start them so."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible():
            signal.raise_signal(signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
