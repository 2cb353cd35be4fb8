"""The whole model, on every grid."""

from dataclasses import replace

import pytest
import torch

from mri_iahvae.kspace.bands import block_mask, crop
from mri_iahvae.kspace.orthogonal import angle_count
from mri_iahvae.model.checkpoint import load_model, save_model
from mri_iahvae.model.config import ScaleConfig
from mri_iahvae.model.iahvae import DECOMPOSITIONS, IAHVAE
from mri_iahvae.model.presets import preset
from mri_iahvae.training.objective import complete, posterior_pass


@pytest.mark.parametrize("size", [16, 32, 64, 128])
def test_every_grid(size, noise):
    model = IAHVAE(preset("small").coarse(size)).requires_grad_(requires_grad=False)
    assert model.size == model.decomposition.size == size
    for scale in model.scales:
        for latent in scale.latents:
            assert torch.Size(latent.shape).numel() == scale.side**2 * model.config.latent
    kspace = torch.view_as_complex(torch.randn(1, size, size, 2, generator=noise))
    bins = posterior_pass(model, kspace).bins
    assert bins.shape == kspace.shape
    assert bins.isfinite().all()


@pytest.mark.parametrize("name", DECOMPOSITIONS)
def test_every_decomposition(name, variant, noise, tmp_path):
    """Heads keep to their scale, a super-resolution branch among them, and a checkpoint knows which one it was."""
    angles = tuple(torch.randn(angle_count(16), generator=noise).tolist())
    scales = (ScaleConfig(1, 8, 4),) * 4 + (ScaleConfig(1, 12, 6, 2, super_resolution=4),)
    gains = (4.0, 3.0, 2.0, 2.0, 1.0)
    model = variant(scales=scales, decomposition=name, angles=angles, gains=gains)
    kspace = torch.view_as_complex(torch.randn(2, 16, 16, 2, generator=noise))
    coefficients = model.decomposition.from_kspace(kspace)
    passed = posterior_pass(model, coefficients)
    for scale in model.scales:
        last = scale.run(scale.context(*context(model, scale)))
        assert not scale.bins(last)[:, ~model.decomposition.ring(scale.index)].any()
    save_model(model, tmp_path, {})
    loaded, _ = load_model(tmp_path)
    assert torch.equal(posterior_pass(loaded, coefficients).bins, passed.bins)
    parts = [crop(coefficients, side) for side in model.decomposition.sides]
    for index, part in enumerate(parts):
        error = (crop(passed.bins, 2**index) - part)[:, model.decomposition.ring(index)]
        torch.testing.assert_close(error.abs().square().sum(1), passed.error[index])


def context(model, scale):
    """A random context of the coarser scale, and random coefficients."""
    if scale.index == 0:
        return None, torch.zeros(2, 0, 0, dtype=torch.complex64)
    config = model.config.scales[scale.index - 1]
    resolution = config.resolution(scale.index - 1)
    coarse = torch.randn(2, scale.side // 2, scale.side // 2, dtype=torch.complex64)
    return torch.randn(2, config.width, resolution, resolution), coarse


def test_gains_core_power_and_sigma_may_be_measured_later(variant, noise):
    """They reach heads, encoder and super-resolution branches."""
    model, other = variant(), variant(gains=(1.0,) * 5)
    kspace = torch.view_as_complex(torch.randn(2, 16, 16, 2, generator=noise))
    assert not torch.allclose(posterior_pass(model, kspace).bins, posterior_pass(other, kspace).bins)
    other.set_config(replace(model.config, sigma=0.7))
    assert other.sigma == 0.7
    assert torch.equal(posterior_pass(model, kspace).bins, posterior_pass(other, kspace).bins)
    assert torch.equal(model.power, other.power)
    # The configuration holds them.
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize("s", [0, 1, 4, 8])
def test_completion(model, kspace, s):
    """Keeps the known block, looks at nothing else, and draws what is beyond."""

    def run(seed=None, data=kspace):
        return complete(model, data, s, None if seed is None else torch.Generator().manual_seed(seed))

    inside = block_mask(s, model.size)
    mean, outside = run(), ~inside
    assert torch.equal(mean, run(data=torch.where(inside, kspace, 7j)))
    for found in (mean, run(1)):
        assert torch.equal(found[:, inside], kspace[:, inside])
    assert torch.equal(run(1), run(1))
    assert (run(1) != run(2))[:, outside].all()
    assert (mean != run(1))[:, outside].all()
    if not s:  # prior means of a batch are all the same, samples are not
        torch.testing.assert_close(mean[0], mean[1])
        assert not torch.allclose(run(1)[0], run(1)[1])
    assert torch.equal(complete(model, kspace, model.size), kspace)
