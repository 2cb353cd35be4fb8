"""What other libraries say, in our sentences; and warnings."""

import pytest

from mri_iahvae.errors import IahvaeWarning, reason, warn


def test_a_reason_is_one_short_line():
    assert reason(ValueError("no\n  such thing")) == "no such thing"
    assert len(reason(ValueError("x" * 10_000))) == 200


def test_an_error_without_words_is_called_by_its_name():
    assert reason(MemoryError()) == "MemoryError"


def test_a_warning_is_of_the_line_outside_the_package():
    """Of code without a module's name, too."""
    code = compile("\nwarn(['first', 'second'])", "typed.py", "exec")
    with pytest.warns(IahvaeWarning) as caught:
        exec(code, {"warn": warn})  # noqa: S102
    assert [(str(one.message), one.filename, one.lineno) for one in caught] == [
        ("first", "typed.py", 2),
        ("second", "typed.py", 2),
    ]
