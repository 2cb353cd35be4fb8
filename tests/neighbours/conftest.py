import numpy as np
import pytest

from tests.conftest import head_images


@pytest.fixture
def file(tmp_path):
    """Slices, as the experiments take them."""
    images = np.abs(head_images(12, 32)) * 255
    np.savez(tmp_path / "slices.npz", images=images.astype(np.uint8))
    return tmp_path / "slices.npz"
