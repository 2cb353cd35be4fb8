"""What every refusal is: one short line."""

import re

import pytest

from mri_iahvae.errors import ScanError


def refused(call, *patterns, error=ScanError):
    """Check that a call ends in an error of one line in which each of the patterns is found."""
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert 0 < len(message) < 1000
    for pattern in patterns:
        assert re.search(pattern, message), message
