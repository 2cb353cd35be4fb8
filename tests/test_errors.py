"""What other libraries say, in our sentences."""

from mri_iahvae.errors import reason


def test_a_reason_is_one_short_line():
    assert reason(ValueError("no\n  such thing")) == "no such thing"
    assert len(reason(ValueError("x" * 10_000))) == 200


def test_an_error_without_words_is_told_by_its_name():
    assert reason(MemoryError()) == "MemoryError"
