"""A multi-coil volume: exact where all is measured, better with the coils than without, and what is refused."""

import numpy as np
import pytest
import torch

from mri_iahvae.errors import UsageError
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.model.guide import Guide
from mri_iahvae.model.guide_config import GuideConfig
from mri_iahvae.pipeline.multicoil import reconstruct_coils
from mri_iahvae.pipeline.request import COIL_COMBINE
from mri_iahvae.pipeline.volume import reconstruct_volume

SIZES = [(32, 32), (33, 40), (48, 31)]


@pytest.fixture
def simulate(coil_maps, head_kspace):
    """Makes a multi-coil scan: noise-free images (slices, H, W) and k-space (slices, coils, H, W)."""

    def make(slices=2, coils=4, height=32, width=32, noise=0.0):
        side = max(height, width)
        images = ifft2c(torch.from_numpy(head_kspace(slices, side))).numpy()
        top, left = (side - height) // 2, (side - width) // 2
        images = 1e-5 * images[:, top : top + height, left : left + width]
        kspace = fft2c(torch.from_numpy(images[:, None] * coil_maps(coils, height, width))).numpy()
        parts = np.random.default_rng(0).normal(size=(2, *kspace.shape))
        return images, (kspace + 1e-5 * noise * (parts[0] + 1j * parts[1])).astype(np.complex64)

    return make


def columns(width, centre=8):
    """Bool (width,): every other column, and the centre."""
    mask = np.arange(width) % 2 == 0
    mask[width // 2 - centre // 2 : width // 2 + centre // 2] = True
    return mask


@pytest.fixture
def run(model, guide):
    """Reconstructs (kspace, mask)."""

    def run(kspace, mask=None, *, data_consistency="hard", **options):
        settings = InferenceSettings(data_consistency=data_consistency, symmetries=2)
        return reconstruct_coils(model, kspace, mask, settings, **{"guide": guide, **options})

    return run


def error(image, target):
    return np.linalg.norm(np.abs(image) - np.abs(target)) / np.linalg.norm(target)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("how", COIL_COMBINE)
def test_all_measured_without_noise_is_exact(run, simulate, size, how):
    images, kspace = simulate(height=size[0], width=size[1])
    result = run(kspace, coil_combine=how)
    expected = np.sqrt((np.abs(ifft2c(torch.from_numpy(kspace)).numpy()) ** 2).sum(axis=1))
    np.testing.assert_allclose(expected, np.abs(images), atol=1e-10)
    # Sensitivities are estimates, and the weighted sum is as good as they are.
    assert error(result.image, images) < (1e-5 if how == "rss" else 0.02)
    assert result.image.dtype == np.complex64
    np.testing.assert_allclose(result.kspace, fft2c(torch.from_numpy(result.image)).numpy(), atol=1e-10)


@pytest.mark.parametrize("size", SIZES)
def test_undersampled_is_better_than_zero_filled(run, simulate, size):
    images, kspace = simulate(height=size[0], width=size[1])
    mask = columns(size[1])
    measured = ifft2c(torch.from_numpy(np.where(mask, kspace, 0))).numpy()
    expected = np.sqrt((np.abs(measured) ** 2).sum(axis=1))
    for how in COIL_COMBINE:
        result = run(kspace, mask, coil_combine=how)
        zero_filled = np.abs(ifft2c(torch.from_numpy(result.zero_filled)).numpy())
        if how == "rss":
            np.testing.assert_allclose(zero_filled, expected, rtol=1e-4, atol=1e-10)
        assert error(result.image, images) < 0.75 * error(zero_filled, images)
    assert result.fractions["measured"] == pytest.approx(mask.mean())


def test_slices_with_masks_of_their_own_do_not_touch_each_other(run, simulate):
    _, kspace = simulate()
    masks = np.stack([columns(32), columns(32, centre=12)])[:, None] & np.ones((32, 1), bool)
    both = run(kspace, masks)
    for number, mask in enumerate(masks):
        alone = run(kspace[number : number + 1], mask)
        np.testing.assert_allclose(both.image[number], alone.image[0], atol=1e-9)
    assert both.fractions["measured"] == pytest.approx(masks.mean())


@pytest.fixture
def least_squares(model):
    """Reconstructs by an untrained guide."""
    torch.manual_seed(0)
    guide = Guide(GuideConfig(12, (4, 8), 1)).eval().requires_grad_(requires_grad=False)
    torch.nn.init.constant_(guide.log_sigma, 10.0)
    settings = InferenceSettings(data_consistency="soft", symmetries=1)
    options = {"guide": guide, "coil_combine": "sensitivity"}
    return lambda *given, **more: reconstruct_coils(model, *given, settings, **options, **more)


def test_an_untrained_guide_is_least_squares_of_the_coils(least_squares, simulate):
    """Its networks change nothing, so that conjugate gradients go on from step to step (SENSE)."""
    images, kspace = simulate()
    result = least_squares(kspace, columns(32), noise_sigma=1e-12)
    assert error(result.image, images) < 0.05
    assert error(ifft2c(torch.from_numpy(result.zero_filled)).numpy(), images) > 0.2


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_true_sensitivities_are_at_least_as_good_as_estimated_ones(least_squares, simulate, coil_maps, noise):
    images, kspace = simulate(noise=noise)
    given = {"noise_sigma": 1e-5 * max(noise, 1e-7)}
    maps = coil_maps(4, 32, 32)
    estimated = least_squares(kspace, columns(32), **given)
    own = least_squares(kspace, columns(32), sensitivities=3 * maps, keep_sensitivities=True, **given)
    np.testing.assert_allclose(own.sensitivities, np.stack([maps, maps]), atol=1e-6)
    assert error(own.image, images) < error(estimated.image, images)
    assert estimated.sensitivities is None


def test_sensitivities_that_are_given_need_no_calibration_lines(least_squares, simulate, coil_maps):
    """Every third column, where ESPIRiT is refused; the maps of each slice, or of all."""
    images, kspace = simulate()
    mask, maps = np.arange(32) % 3 == 1, coil_maps(4, 32, 32)
    found = least_squares(kspace, mask, sensitivities=maps, noise_sigma=1e-12)
    assert error(found.image, images) < 0.15
    each = least_squares(kspace, mask, sensitivities=np.stack([maps, maps]), noise_sigma=1e-12)
    np.testing.assert_array_equal(each.image, found.image)


def test_sensitivities_come_out_as_they_go_in(run, simulate):
    _, kspace = simulate()
    first = run(kspace, columns(32), keep_sensitivities=True)
    np.testing.assert_allclose(np.linalg.norm(first.sensitivities, axis=1), 1, rtol=1e-4)
    again = run(kspace, columns(32), sensitivities=first.sensitivities)
    assert error(again.image, first.image) < 1e-4


@pytest.fixture
def sampled(model, guide):
    """Samples (kspace, mask), sensitivity-weighted."""

    def run(kspace, mask, samples=4, seed=0, temperature=1.0, **options):
        settings = InferenceSettings(
            data_consistency="soft", symmetries=1, samples=samples, seed=seed, temperature=temperature
        )
        options = {"coil_combine": "sensitivity", "keep_samples": True, **options}
        return reconstruct_coils(model, kspace, mask, settings, guide=guide, **options)

    return run


@pytest.mark.parametrize("how", COIL_COMBINE)
def test_samples_lie_about_the_estimate(sampled, run, simulate, how):
    """Their mean is it, of an even number: they come in antithetic pairs; a root of squares is bent."""
    _, kspace = simulate(noise=0.02)
    given = {"noise_sigma": 2e-7, "coil_combine": how}
    found = sampled(kspace, columns(32), **given)
    alone = sampled(kspace, columns(32), samples=0, keep_samples=False, **given)
    np.testing.assert_array_equal(found.image, alone.image)
    assert (alone.std, alone.samples) == (None, None)
    assert found.samples.shape == (2, 4, 32, 32)
    assert found.std.shape == (2, 32, 32)
    assert found.std.min() > 0
    off = np.linalg.norm(found.samples.mean(axis=1) - found.image)
    assert off < (1e-5 if how == "sensitivity" else 0.1) * np.linalg.norm(found.image)
    expected = np.sqrt(np.square(np.abs(found.samples) - np.abs(found.samples).mean(1)[:, None]).sum(1) / 4)
    np.testing.assert_allclose(found.std, expected, rtol=1e-3, atol=1e-12)


def test_samples_agree_with_the_measured_bins_to_the_noise(sampled, simulate, coil_maps):
    """Misfit of a sample at measured bins less that of the estimate: no more than the noise and the maps' error."""
    images, kspace = simulate()
    maps, mask = coil_maps(4, 32, 32), columns(32)
    found = sampled(kspace, mask, sensitivities=maps, noise_sigma=2e-7)
    drawn = (found.samples - found.image[:, None])[:, :, None] * maps
    power = np.abs(fft2c(torch.from_numpy(drawn)).numpy()) ** 2
    unit = np.sqrt((np.abs(images) ** 2).mean())
    noise = np.hypot(2e-7, 0.01 * unit)
    assert power[..., mask].mean() < 2 * noise**2 * 1.2
    assert power[..., ~mask].mean() > power[..., mask].mean()


def test_samples_depend_on_slice_seed_and_temperature_alone(sampled, simulate):
    _, kspace = simulate()
    kspace[1] = kspace[0]
    both = sampled(kspace, columns(32)).samples
    assert np.abs(both[0] - both[1]).max() > 1e-3 * np.abs(both).max()
    second = sampled(kspace[1:], columns(32), first=1).samples
    np.testing.assert_allclose(second[0], both[1], atol=1e-4 * np.abs(both).max())
    assert np.abs(sampled(kspace[:1], columns(32), seed=1).samples - both[:1]).max() > 0
    cold = sampled(kspace[:1], columns(32), temperature=0.0)
    assert cold.std.max() < 1e-4 * np.abs(cold.image).max()


def test_samples_keep_the_measured_bins_where_data_consistency_is_hard(model, guide, simulate):
    """With all measured nothing is left to draw."""
    _, kspace = simulate()
    settings = InferenceSettings(samples=2, symmetries=1)
    found = reconstruct_coils(model, kspace, None, settings, guide=guide, keep_samples=True)
    np.testing.assert_allclose(found.std, 0, atol=1e-6 * np.abs(found.image).max())


def test_a_slice_without_signal_has_samples_without(sampled, simulate):
    _, kspace = simulate()
    kspace[1] = 0
    found = sampled(kspace, columns(32), noise_sigma=1e-7)
    assert found.std[0].max() > 0
    assert np.abs(found.samples[1]).max() == 0


def test_one_coil_is_a_single_coil_scan(run, model, guide, head_kspace):
    kspace = 1e-5 * head_kspace(2)
    settings = InferenceSettings("guide", symmetries=2)
    single = reconstruct_volume(model, kspace, columns(32), settings, guide=guide, noise_sigma=1e-7)
    assert error(run(kspace[:, None], columns(32), noise_sigma=1e-7).image, single.image) < 0.01


def test_slices_do_not_depend_on_their_group(run, simulate):
    _, kspace = simulate(slices=3)
    whole = run(kspace, columns(32))
    last = run(kspace[2:], columns(32))
    assert error(last.image, whole.image[2:]) < 1e-3


def test_bins_that_are_not_measured_do_not_matter(run, simulate):
    _, kspace = simulate()
    central = np.zeros((32, 32), bool)
    central[8:24, 8:24] = True
    for mask, options in ((columns(32), {"mask": columns(32)}), (central, {"up_to": 16})):
        spoilt = np.where(mask, kspace, 7e-5)
        np.testing.assert_array_equal(run(spoilt, **options).image, run(kspace, **options).image)


def test_columns_never_acquired_stay_zero(run, simulate):
    _, kspace = simulate(height=32, width=40)
    mask = columns(40)
    mask[:3] = mask[38:] = False
    kspace[..., :3] = kspace[..., 38:] = 0
    for consistency in ("hard", "soft"):
        result = run(kspace, mask, acquired=(3, 38), coil_combine="sensitivity", data_consistency=consistency)
        assert np.isfinite(result.image).all()
    # Of the coils' k-space: what the model does not complete, the sensitivities fill.
    assert result.fractions == pytest.approx(
        {"measured": mask.mean(), "completed": 35 / 40 - mask.mean(), "zero": 5 / 40}
    )


def test_noise_counts_where_data_consistency_is_soft(run, simulate):
    images, kspace = simulate()
    options = {"data_consistency": "soft", "coil_combine": "sensitivity"}
    errors = [error(run(kspace, noise_sigma=1e-5 * s, **options).image, images) for s in (1e-4, 0.3, 3)]
    assert errors[0] < 0.03  # the data
    assert errors[0] < errors[1] < errors[2]  # ever more of the prior


def test_without_a_noise_level_the_coils_go_by_an_estimate(run, simulate):
    _, kspace = simulate(noise=0.02)
    unknown, low, high = (run(kspace, columns(32), noise_sigma=sigma).image for sigma in (0.0, 2e-8, 2e-6))
    assert np.linalg.norm(low - unknown) > 1e-4 * np.linalg.norm(low)
    assert np.linalg.norm(low - high) > 1e-2 * np.linalg.norm(low)


def test_a_slice_without_signal_stays_zero(run, simulate):
    _, kspace = simulate()
    kspace[1] = 0
    result = run(kspace, columns(32))
    assert np.abs(result.image[1]).max() == 0
    assert np.isfinite(result.image).all()
    assert any("no signal" in warning and "slice 1" in warning for warning in result.warnings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": np.arange(32) % 4 == 0}, "fully measured centre of k-space"),
        ({"mask": np.ones(31, bool)}, "expected shapes that fit"),
        ({"coil_combine": "sum"}, "rss, sensitivity"),
        ({"guide": None}, "a checkpoint without one"),
        ({"noise_sigma": 1e200}, "must be finite"),
        ({"keep_samples": True}, "needs samples"),
        (
            {"sensitivities": np.ones((4, 32, 32))},
            r"expected complex \(4, 32, 32\) or \(2, 4, 32, 32\), got float",
        ),
        ({"sensitivities": np.ones((2, 3, 32, 32), np.complex64)}, r"got complex64 \(2, 3, 32, 32\)"),
        ({"sensitivities": np.zeros((4, 32, 32), np.complex64)}, "not all zero"),
        ({"sensitivities": np.full((4, 32, 32), np.nan + 0j)}, "must be finite"),
    ],
)
def test_refused(run, simulate, change, message):
    with pytest.raises(UsageError, match=message):
        run(simulate()[1], **change)


def test_single_coils_and_other_methods_are_refused(run, model, guide, simulate):
    kspace = simulate()[1]
    with pytest.raises(UsageError, match="take hard or soft"):
        reconstruct_coils(model, kspace, None, InferenceSettings(data_consistency="none"), guide=guide)
    with pytest.raises(UsageError, match="found method iterative"):
        reconstruct_coils(model, kspace, None, InferenceSettings("iterative"), guide=guide)
    with pytest.raises(UsageError, match=r"expected complex \(slices, coils, H, W\)"):
        run(kspace[0])
