"""What all readers' tests check of a refusal."""

import re

import pytest

from mri_iahvae.scans.reader import open_scan
from tests import refusals


@pytest.fixture
def refused():
    """Checks that a file is refused in one line, which names it, what was expected, and what was found."""

    def check(path, *patterns):
        named = re.escape(str(path.with_suffix("")))
        refusals.refused(
            lambda: open_scan(path).read_coils(slice(None)), named, "expected", "found", *patterns
        )

    return check
