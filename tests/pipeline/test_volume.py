"""A volume through the engine: units, masks, grids, empty slices, and what is refused."""

import numpy as np
import pytest
import torch

from mri_iahvae.errors import UsageError
from mri_iahvae.inference.infer import METHODS, infer
from mri_iahvae.inference.settings import DATA_CONSISTENCY, InferenceSettings
from mri_iahvae.kspace.bands import block
from mri_iahvae.kspace.fft import fft2c
from mri_iahvae.pipeline import volume
from mri_iahvae.pipeline.volume import deviation, reconstruct_volume


def run(model, kspace, mask=None, *, steps=3, **options):
    own = {
        name: options.pop(name)
        for name in ("up_to", "noise_sigma", "keep_samples", "batch")
        if name in options
    }
    settings = InferenceSettings(steps=steps, **options)
    return reconstruct_volume(model, kspace, mask, settings, **{"batch": 8, **own})


def error(image, target):
    return np.linalg.norm(image - target) / np.linalg.norm(target)


def test_a_global_phase_passes_through(model, head_kspace, columns):
    turn = np.complex64(np.exp(2j))
    turned = run(model, turn * head_kspace(), columns)
    assert error(turned.image, turn * run(model, head_kspace(), columns).image) < 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_hard_consistency_keeps_measured_bins_exactly(model, head_kspace, columns, method):
    kspace = 1e-5 * head_kspace()
    result = run(model, kspace, columns, method=method)
    np.testing.assert_array_equal(result.kspace[:, columns], kspace[:, columns])
    np.testing.assert_array_equal(result.zero_filled, np.where(columns, kspace, 0))
    assert np.isfinite(result.image).all()
    completed = np.abs(result.kspace[:, ~columns])
    assert (completed > 0).mean() > 0.99


def test_values_at_unmeasured_bins_are_ignored(model, head_kspace, columns):
    kspace = head_kspace()
    spoiled = np.where(columns, kspace, np.nan + 1j * np.inf).astype(np.complex64)
    np.testing.assert_array_equal(run(model, spoiled, columns).image, run(model, kspace, columns).image)


@pytest.mark.parametrize("up_to", [1, 2, 8, 16])
def test_up_to_uses_its_block_only(model, head_kspace, rng, up_to):
    kspace = head_kspace()
    inside = np.zeros((32, 32), bool)
    inside[block(32, up_to), block(32, up_to)] = True
    noise = rng.normal(size=kspace.shape) + 1j * rng.normal(size=kspace.shape)
    result = run(model, kspace, up_to=up_to)
    np.testing.assert_array_equal(
        run(model, np.where(inside, kspace, noise), up_to=up_to).image, result.image
    )
    np.testing.assert_array_equal(run(model, kspace, inside).image, result.image)
    np.testing.assert_array_equal(result.kspace[:, inside], kspace[:, inside])
    assert result.fractions == pytest.approx(
        {"measured": up_to**2 / 1024, "completed": 1 - up_to**2 / 1024, "zero": 0}
    )


@pytest.mark.parametrize("size", [33, 48, 64])
def test_beyond_the_grid_bins_are_kept_or_zero(model, head_kspace, size):
    kspace = head_kspace(size=size)
    outer = np.ones((size, size), bool)
    outer[block(size, 32), block(size, 32)] = False
    everything = run(model, kspace)
    np.testing.assert_array_equal(everything.kspace, kspace)
    assert everything.fractions == {"measured": 1, "completed": 0, "zero": 0}

    low = run(model, kspace, up_to=8)
    assert not low.kspace[:, outer].any()
    assert (low.kspace[:, ~outer] != 0).mean() > 0.99
    total = size**2
    expected = {"measured": 64 / total, "completed": (1024 - 64) / total, "zero": 1 - 1024 / total}
    assert low.fractions == pytest.approx(expected)

    masked = np.ones((size, size), bool)
    masked[:, ::3] = False
    some = run(model, kspace, masked)
    np.testing.assert_array_equal(some.kspace[:, masked], kspace[:, masked])
    assert not some.kspace[:, outer & ~masked].any()


def test_the_grid_is_the_centre_of_a_larger_scan(model, head_kspace):
    """The same central bins give the same completion, whatever lies beyond."""
    kspace = head_kspace(size=64)
    centre = np.ascontiguousarray(kspace[:, block(64, 32), block(64, 32)])
    large = run(model, kspace, up_to=8).kspace[:, block(64, 32), block(64, 32)]
    np.testing.assert_array_equal(large, run(model, centre, up_to=8).kspace)


def test_a_sample_without_its_mirror_image_is_named_unless_all_is_a_sample_of_the_prior(
    model, head_kspace, columns
):
    kspace = head_kspace(2)
    pairs, odd = (run(model, kspace, columns, samples=samples).warnings for samples in (2, 1))
    assert pairs == ()
    assert [text.split(":")[0] for text in odd] == ["1 posterior sample"]
    (text,) = run(model, kspace, np.zeros_like(columns), samples=1).warnings
    assert "a sample of the prior" in text


@pytest.mark.parametrize("samples", [0, 3])
def test_memory_that_runs_out_halves_the_batch_and_is_said(model, head_kspace, columns, monkeypatch, samples):
    kspace = head_kspace(5)
    expected = run(model, kspace, columns, samples=samples)
    tried = []

    def limited(model, measured, *args):
        tried.append(len(measured))
        if len(measured) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return infer(model, measured, *args)

    monkeypatch.setattr(volume, "infer", limited)
    result = run(model, kspace, columns, samples=samples)
    fits = 1 if samples else 2  # 6 samples of 2 slices: 6, 3, 1; else 5 slices: 5, 2
    assert max(tried[2:]) == fits
    said = f"out of memory with 8 slices at a time: went on with {fits}"
    assert result.warnings == (said, *expected.warnings)
    assert error(result.image, expected.image) < 1e-3
    assert result.fractions == expected.fractions
    if samples:
        assert error(result.std, expected.std) < 1e-3


@pytest.mark.parametrize("consistency", DATA_CONSISTENCY)
@pytest.mark.parametrize("batch", [1, 4, 8])
def test_samples_give_mean_and_standard_deviation(model, head_kspace, columns, consistency, batch):
    kspace = head_kspace(3)
    options = {"noise_sigma": 0.05, "data_consistency": consistency, "samples": 4, "batch": batch}
    result = run(model, kspace, columns, keep_samples=True, **options)
    assert result.samples.shape == (3, 4, 32, 32)
    assert result.samples.dtype == np.complex64
    assert result.std.shape == (3, 32, 32)
    assert result.std.dtype == np.float32
    assert error(result.samples.mean(axis=1), result.image) < 1e-5
    # Antithetic pairs: the mean of an even number costs no degree of freedom.
    np.testing.assert_allclose(result.std, np.abs(result.samples).std(axis=1), rtol=1e-3, atol=1e-5)
    assert (result.std > 0).all()
    spread = fft2c(torch.from_numpy(result.samples)).std(dim=1).numpy()
    if consistency == "hard":
        np.testing.assert_array_equal(result.kspace[:, columns], kspace[:, columns])
        assert spread[:, columns].max() < 1e-4 * spread[:, ~columns].mean()
    else:
        assert spread[:, columns].min() > 0
    without = run(model, kspace, columns, **options)
    assert without.samples is None
    np.testing.assert_array_equal(without.image, result.image)
    np.testing.assert_array_equal(without.std, result.std)


def test_one_sample_has_no_standard_deviation(model, head_kspace):
    result = run(model, head_kspace(2), up_to=8, samples=1, keep_samples=True)
    assert result.std is None
    np.testing.assert_allclose(result.samples[:, 0], result.image, rtol=1e-4, atol=1e-5)


def test_steps_are_means_over_the_slices(model, head_kspace, columns):
    masks = np.stack([columns, np.zeros_like(columns)])
    assert run(model, head_kspace(2), masks, steps=4).steps.tolist() == [2] * 6
    assert run(model, head_kspace(2), up_to=4, steps=4, samples=2).steps.tolist() == [4, 4, 4, 0, 0, 0]
    assert run(model, head_kspace(2), method="amortized").steps.tolist() == [0] * 6
    automatic = run(model, head_kspace(2), columns, steps="auto").steps
    assert (automatic > 1).all()
    assert (automatic <= 100).all()


def test_one_mask_per_slice(model, head_kspace, columns):
    kspace = head_kspace()
    masks = np.stack([columns, np.ones_like(columns)])
    result = run(model, kspace, masks)
    np.testing.assert_array_equal(result.kspace[1], kspace[1])
    assert error(result.image[0], run(model, kspace[:1], columns).image[0]) < 1e-3
    assert result.fractions["measured"] == pytest.approx(masks.mean())


@pytest.mark.parametrize("samples", [0, 2])
@pytest.mark.parametrize("batch", [1, 8])
def test_slices_without_signal_are_zeros_and_unknown_ones_prior_samples(
    model, head_kspace, columns, batch, samples
):
    kspace = head_kspace(3)
    masks = np.stack([columns] * 3)
    masks[0] = False  # nothing measured
    kspace[2] = 0  # measured, without signal
    result = run(model, kspace, masks, batch=batch, samples=samples)
    assert not result.image[2].any()
    assert result.image[1].all()
    assert result.image[0].all()
    other = run(model, kspace, masks, batch=batch, samples=samples, seed=1)
    if samples:  # antithetic about the prior mean: only the deviation is another one
        assert not result.std[2].any()
        assert result.std[0].all()
        assert error(other.std[0], result.std[0]) > 0.01
    else:
        assert error(other.image[0], result.image[0]) > 0.01
        np.testing.assert_array_equal(other.image[1:], result.image[1:])
    zero_signal, unknown = result.warnings
    assert zero_signal == "no signal in the central 32x32 bins of slice 2: left zero"
    assert unknown == (
        "nothing measured in the central 32x32 bins of slice 0: a sample of the prior, in canonical units"
    )
    assert np.isfinite(result.factors).all()
    assert result.factors[0] == 1
    fraction = columns.mean()
    expected = {"measured": 2 * fraction / 3, "completed": (2 - fraction) / 3, "zero": (1 - fraction) / 3}
    assert result.fractions == pytest.approx(expected)


def test_where_only_bins_beyond_the_grid_are_measured_they_are_kept(model, head_kspace):
    kspace = head_kspace(size=64)
    mask = np.zeros((64, 64), bool)
    mask[:, :8] = True
    result = run(model, kspace, mask)
    inside = np.zeros((64, 64), bool)
    inside[block(64, 32), block(64, 32)] = True
    np.testing.assert_array_equal(result.kspace[:, ~inside], np.where(mask, kspace, 0)[:, ~inside])
    assert (result.kspace[:, inside] != 0).mean() > 0.99
    assert len(result.warnings) == 1
    assert result.warnings[0].startswith("nothing measured in the central 32x32 bins of slices 0, 1:")
    assert result.fractions == {"measured": 1 / 8, "completed": 1 / 4, "zero": 5 / 8}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kspace": np.ones((32, 32), complex)}, "complex (slices, H, W)"),
        ({"kspace": np.ones((1, 1, 32, 32), complex)}, "complex (slices, H, W)"),
        ({"kspace": np.ones((1, 32, 32))}, "complex (slices, H, W)"),
        ({"kspace": np.ones((1, 32, 0), complex)}, "complex (slices, H, W)"),
        ({"kspace": np.full((1, 32, 32), np.nan + 0j)}, "finite"),
        ({"kspace": np.full((1, 32, 32), 1e300 + 0j)}, "finite"),
        ({"mask": np.ones((31, 32), bool)}, "mask"),
        ({"mask": np.ones((2, 32, 32), bool)}, "mask"),
        ({"mask": np.full(32, 1.5)}, "mask: expected true and false"),
        ({"mask": np.full(32, np.nan)}, "mask: expected true and false"),
        ({"noise_sigma": -1.0}, "negative"),
        ({"noise_sigma": np.nan}, "finite"),
        ({"noise_sigma": np.ones(2)}, "noise_sigma"),
        ({"batch": 0}, "batch"),
        ({"keep_samples": True}, "keep_samples needs samples"),
    ],
)
def test_what_cannot_be_is_refused(model, change, message):
    arguments = {"kspace": np.ones((1, 32, 32), complex), "mask": None, **change}
    with pytest.raises(UsageError) as caught:
        run(model, **arguments)
    assert message in str(caught.value)


def test_the_input_is_left_alone(model, head_kspace, columns):
    kspace, mask = head_kspace(), columns.copy()
    run(model, kspace, mask, up_to=8)
    np.testing.assert_array_equal(kspace, head_kspace())
    np.testing.assert_array_equal(mask, columns)


def test_progress_counts_every_slice_in_parts(model, head_kspace):
    done = []
    reconstruct_volume(
        model, head_kspace(3), None, InferenceSettings("amortized"), batch=2, progress=done.append
    )
    assert len(done) == 2 * len(model.scales)
    assert min(done) > 0
    assert sum(done[: len(model.scales)]) == pytest.approx(2)
    assert sum(done) == pytest.approx(3)


@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_the_deviation_of_antithetic_pairs_is_unbiased(count):
    noise = torch.randn(20_000, (count + 1) // 2, generator=torch.Generator().manual_seed(0))
    pairs = torch.stack([noise, -noise], dim=2).flatten(1)[:, :count]
    assert deviation(5 + 3 * pairs).square().mean().sqrt() == pytest.approx(3, rel=0.02)


@pytest.mark.parametrize("unit", [1e-30, 1e30])
def test_the_deviation_does_not_leave_the_range_of_numbers(unit):
    samples = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(deviation(unit * samples) / unit, deviation(samples))
