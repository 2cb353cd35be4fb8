from mri_iahvae.words import counted


def test_one_is_one():
    assert [counted(n, "slice") for n in (0, 1, 2)] == ["0 slices", "1 slice", "2 slices"]
