from zipfile import ZipFile

import numpy as np
import pytest

from mri_iahvae.scans.formats.npz import npz_array


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back(tmp_path, rng, save):
    arrays = {
        "a": rng.integers(0, 9, (2, 3)),
        "b": np.asfortranarray(rng.random((4, 5))),
        "c": np.array(["x", "yz"]),
    }
    save(tmp_path / "a.npz", **arrays)
    with ZipFile(tmp_path / "a.npz") as archive:
        for name, values in arrays.items():
            np.testing.assert_array_equal(npz_array(archive, name, "ifU", 1000), values)


def test_what_is_too_large_or_of_another_type_is_not_read(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.ones(100), b=np.array([{}], object))
    with ZipFile(tmp_path / "a.npz") as archive:
        assert npz_array(archive, "a", "f", 800).sum() == 100
        for name, kinds, most in (("a", "f", 799), ("a", "i", 800), ("b", "fO", 800)):
            with pytest.raises(ValueError, match=r"shape|allow_pickle"):
                npz_array(archive, name, kinds, most)
        with pytest.raises(KeyError):
            npz_array(archive, "c", "f", 800)
