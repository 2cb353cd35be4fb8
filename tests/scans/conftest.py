"""What all readers' tests check of a refusal."""

import re

import pytest

from mri_iahvae.errors import ScanError
from mri_iahvae.scans.reader import open_scan


@pytest.fixture
def refused():
    """Checks that a file is refused in one line, which names it, what was expected, and what was found."""

    def check(path, *patterns):
        with pytest.raises(ScanError) as caught:
            open_scan(path).read_coils(slice(None))
        message = str(caught.value)
        assert "\n" not in message
        assert len(message) < len(str(path)) + 600
        for pattern in (re.escape(str(path.with_suffix(""))), "expected", "found", *patterns):
            assert re.search(pattern, message), message

    return check
