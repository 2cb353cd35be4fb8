"""The Python API of `denoise`."""

import numpy as np
import pytest

import mri_iahvae
from mri_iahvae.errors import UsageError


def denoise(kspace, sigma, **options):
    return mri_iahvae.denoise(kspace, sigma, **{"steps": 2, "device": "cpu", **options})


def error(image, target):
    return np.linalg.norm(image - target) / np.linalg.norm(target)


def test_without_noise_the_data_come_back(checkpoint, head_kspace):
    kspace = 1e-5 * head_kspace(3)
    result = denoise(kspace, 0.0, checkpoint=checkpoint)
    assert result.image.shape == (3, 32, 32)
    assert result.settings.data_consistency == "soft"
    assert error(result.kspace, kspace) < 1e-5


def test_the_more_noise_the_less_the_data_count(checkpoint, head_kspace):
    kspace = 1e-5 * head_kspace(1)
    # At each scale: across scales an untrained model may do anything in strong noise.
    options = {"checkpoint": checkpoint}
    distances = [error(denoise(kspace, s, **options).kspace, kspace) for s in (1e-7, 1e-6, 1e-5)]
    assert 1e-4 < distances[0] < distances[1] < distances[2]


def test_one_level_per_slice(checkpoint, head_kspace):
    kspace = head_kspace(2)
    both = denoise(kspace, np.array([0.0, 0.3]), checkpoint=checkpoint)
    assert error(both.kspace[0], kspace[0]) < 1e-5
    assert error(both.kspace[1], denoise(kspace[1:], 0.3, checkpoint=checkpoint).kspace[0]) < 1e-3


def test_the_level_is_in_the_units_of_the_input(checkpoint, head_kspace):
    plain = denoise(head_kspace(), 0.1, checkpoint=checkpoint)
    for scale in (1e-6, 1e6):
        scaled = denoise(scale * head_kspace(), scale * 0.1, checkpoint=checkpoint)
        assert error(scaled.image / scale, plain.image) < 1e-3


def test_masks_are_completed(checkpoint, head_kspace):
    mask = np.ones((32, 32), bool)
    mask[:, ::4] = False
    result = denoise(head_kspace(), 0.1, mask=mask, checkpoint=checkpoint)
    assert result.fractions == pytest.approx({"measured": 0.75, "completed": 0.25, "zero": 0})
    assert not result.zero_filled[:, ~mask].any()
    assert (result.kspace[:, ~mask] != 0).mean() > 0.99


def test_samples_show_how_uncertain_the_image_is(checkpoint, head_kspace):
    """The standard deviation grows with the noise, and is not zero where everything is measured."""
    spreads = []
    for sigma in (0.0, 0.02, 0.2):
        result = denoise(head_kspace(1), sigma, checkpoint=checkpoint, samples=4, keep_samples=True)
        assert result.settings.data_consistency == "soft"
        assert error(result.samples.mean(axis=1), result.image) < 1e-5
        spreads.append(result.std)
    assert spreads[0].max() < 1e-4
    assert (spreads[1] > 0).all()
    assert spreads[2].mean() > 2 * spreads[1].mean()


def test_settings_that_cannot_be_are_refused(checkpoint, head_kspace):
    for options in ({"method": "paper", "samples": 2}, {"speed": 1}):
        with pytest.raises(UsageError):
            denoise(head_kspace(), 0.1, checkpoint=checkpoint, **options)


@pytest.mark.parametrize("sigma", [-1.0, np.nan, np.inf, np.ones(3), np.ones((2, 2))])
def test_levels_that_cannot_be_are_refused(checkpoint, head_kspace, sigma):
    with pytest.raises(UsageError, match="noise_sigma"):
        denoise(head_kspace(), sigma, checkpoint=checkpoint)
