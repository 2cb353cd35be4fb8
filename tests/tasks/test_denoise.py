"""The Python API of `denoise`."""

import numpy as np

import mri_iahvae


def denoise(kspace, sigma, **options):
    return mri_iahvae.denoise(kspace, sigma, **{"steps": 2, "device": "cpu", **options})


def error(image, target):
    return np.linalg.norm(image - target) / np.linalg.norm(target)


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
