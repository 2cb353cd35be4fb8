"""Coils are distinguished from slices by what follows from each other."""

import h5py
import numpy as np
import pytest

from mri_iahvae.scans.likeness import likeness
from mri_iahvae.tasks.inspect import inspect

SIZE, NOISE = 64, 0.01


@pytest.fixture
def volume(rng, coil_maps):
    """k-space (5 slices, 4 coils, 64, 64), noisy: objects of one outline, which differ within it."""
    y, x = (np.mgrid[:SIZE, :SIZE] - SIZE // 2) / (SIZE / 2)
    outline = (y / 0.8) ** 2 + (x / 0.7) ** 2 < 1
    low, high = (-0.5, -0.5, 0.1, -0.5), (0.5, 0.5, 0.25, 1.0)
    cy, cx, radius, more = np.moveaxis(rng.uniform(low, high, (5, 8, 4)), -1, 0)[..., None, None]
    images = outline * (1 + (more * ((y - cy) ** 2 + (x - cx) ** 2 < radius**2)).sum(axis=1))
    images = images[:, None] * coil_maps(4, SIZE, SIZE) * np.exp(1j * (x + 0.5 * y))
    axes = (-2, -1)
    kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(images, axes), norm="ortho"), axes)
    parts = rng.normal(size=(2, *kspace.shape))
    return (kspace + NOISE * (parts[0] + 1j * parts[1])).astype(np.complex64)


def columns(count):
    return np.broadcast_to(np.abs(np.arange(SIZE) - SIZE // 2) < count // 2, (SIZE, SIZE))


@pytest.mark.parametrize("scale", [1.0, 1e-12])
@pytest.mark.parametrize("mask", [columns(SIZE + 2), columns(20)], ids=["whole", "centre"])
def test_coils_follow_from_each_other_and_slices_do_not(volume, mask, scale):
    kspace = np.where(mask, scale * volume, 0).astype(np.complex64)
    coils, slices = (likeness(images, mask, scale * NOISE) for images in (kspace[2], kspace[:, 1]))
    assert (coils.coils, coils.slices) == (True, False)
    assert (slices.coils, slices.slices) == (False, True)
    assert coils.unexplained < 3 * coils.noise < slices.unexplained


def test_noise_that_hides_the_likeness_is_no_difference(volume, rng):
    sigma = np.sqrt(np.square(np.abs(volume[2])).mean())
    parts = rng.normal(size=(2, *volume[2].shape))
    found = likeness(volume[2] + sigma * (parts[0] + 1j * parts[1]), columns(SIZE + 2), sigma)
    assert found.unexplained > 0.3
    assert (found.slices, found.coils) == (False, False)


def test_repeated_images_are_no_coils(volume):
    found = likeness(np.repeat(volume[:1, 0], 6, axis=0), columns(SIZE + 2), 0.0)
    assert (found.slices, found.coils) == (False, False)


def test_nothing_is_said_of_too_little(volume):
    assert likeness(volume[0, :2], columns(SIZE + 2), NOISE) is None
    assert likeness(volume[0], columns(8), NOISE) is None
    assert likeness(np.where(np.arange(4)[:, None, None] < 2, volume[0], 0), columns(SIZE + 2), NOISE) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda kspace: kspace, []),
        (lambda kspace: kspace[:, 0], []),
        (lambda kspace: kspace.swapaxes(0, 1), ["coils", "slices"]),
        (lambda kspace: kspace[:, 0][None], ["coils"]),
        (lambda kspace: kspace[0], ["slices"]),
    ],
    ids=["right", "one coil", "exchanged", "slices as coils", "coils as slices"],
)
def test_inspect_tells_coils_from_slices(volume, tmp_path, change, said):
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["kspace"] = change(volume)
    found = [finding.text for finding in inspect(tmp_path / "scan.h5").findings if " show " in finding.text]
    wanted = {"coils": "coils show different objects", "slices": "slices show one object in different light"}
    assert len(found) == len(said)
    assert all(wanted[name] in text for name, text in zip(said, found, strict=True))
