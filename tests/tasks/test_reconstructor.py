"""A `Reconstructor`: the functions of the same name, on any array, in any shape; and what it says of results."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import mri_iahvae
from mri_iahvae import IahvaeWarning, Reconstructor, draw_mask
from mri_iahvae.errors import UsageError
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.pipeline.loaded import LoadedModel
from mri_iahvae.pipeline.multicoil import reconstruct_coils

MASK = draw_mask("equispaced", (32, 32), 2, 0.25)


@pytest.fixture(scope="module")
def reconstructor(checkpoint):
    return Reconstructor(checkpoint, "cpu", steps=1)


def arrays(result):
    return {name: value for name, value in vars(result).items() if hasattr(value, "dtype")}


def check_equal(a, b):
    """All that two results hold."""
    for name, value in vars(a).items():
        np.testing.assert_equal(value, getattr(b, name), err_msg=name)


def test_the_functions_are_calls_of_it(reconstructor, checkpoint, head_kspace):
    kspace, own = head_kspace(2), {"checkpoint": checkpoint, "device": "cpu", "steps": 1}
    check_equal(reconstructor.reconstruct(kspace, MASK), mri_iahvae.reconstruct(kspace, MASK, **own))
    found = reconstructor.denoise(kspace, 0.1, MASK, batch=1)
    check_equal(found, mri_iahvae.denoise(kspace, 0.1, MASK, batch=1, **own))
    assert found.settings == InferenceSettings(steps=1, data_consistency="soft")
    assert reconstructor.reconstruct(kspace).settings == reconstructor.settings == InferenceSettings(steps=1)
    hard = Reconstructor(checkpoint, "cpu", steps=1, data_consistency="hard")
    check_equal(hard.denoise(kspace, 0.1), hard.reconstruct(kspace, noise_sigma=0.1))


def test_the_model_is_loaded_once(checkpoint, head_kspace, monkeypatch):
    reconstructor = Reconstructor(checkpoint, "cpu", quality="fast")
    monkeypatch.setattr(LoadedModel, "load", None)
    first, second = (reconstructor.reconstruct(head_kspace(1), MASK) for _ in range(2))
    check_equal(first, second)


def test_one_slice_has_no_axis_of_slices(reconstructor, head_kspace):
    kspace = head_kspace(1)
    volume = reconstructor.reconstruct(kspace, MASK, noise_sigma=0.01)
    found = reconstructor.reconstruct(kspace[0], MASK, noise_sigma=0.01)
    assert found.image.shape == found.kspace.shape == found.magnitude.shape == (32, 32)
    assert found.fractions == volume.fractions
    for name, value in arrays(volume).items():
        np.testing.assert_array_equal(getattr(found, name), value if name == "steps" else value[0], name)


def test_tensors_in_tensors_out(reconstructor, head_kspace):
    kspace = head_kspace(2)
    expected = reconstructor.denoise(kspace, np.array([0.1, 0.2]), MASK)
    tensor = torch.from_numpy(kspace).requires_grad_()
    found = reconstructor.denoise(tensor.conj(), torch.tensor([0.1, 0.2]), torch.from_numpy(MASK))
    plain = reconstructor.denoise(kspace.conj(), np.array([0.1, 0.2]), MASK)
    for name, value in arrays(plain).items():
        tensor = getattr(found, name)
        assert isinstance(tensor, torch.Tensor)
        assert not tensor.requires_grad
        np.testing.assert_array_equal(tensor.numpy(), value, name)
    assert isinstance(found.magnitude, torch.Tensor)
    assert all(isinstance(value, np.ndarray) for value in arrays(expected).values())
    assert np.abs(expected.image - plain.image).max() > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.cuda
def test_tensors_stay_on_their_device(reconstructor, head_kspace):
    found = reconstructor.reconstruct(torch.from_numpy(head_kspace(1)).cuda(), MASK)
    assert found.image.device.type == "cuda"


def test_several_coils_are_those_of_the_pipeline(reconstructor, coil_kspace):
    loaded, kspace = reconstructor.loaded, coil_kspace()
    for options, own in (
        ({}, {}),
        ({"coil_combine": "sensitivity", "noise_sigma": 0.01}, {"keep_coil_kspace": True}),
    ):
        expected = reconstruct_coils(
            loaded.model, kspace, MASK, reconstructor.settings, guide=loaded.guide, domain=loaded.domain,
            keep_kspace=bool(own), **options,
        )  # fmt: skip
        found = reconstructor.reconstruct(kspace, MASK, **own, **options)
        for name, value in arrays(expected).items():
            np.testing.assert_array_equal(getattr(found, name), value, name)
        assert (found.coil_kspace is None) == (not own)
    one = reconstructor.reconstruct(kspace[0], MASK, coils=True, **own, **options)
    assert one.coil_kspace.shape == (4, 32, 32)
    np.testing.assert_allclose(one.image, found.image[0], atol=1e-5)


def test_a_single_coil_is_a_scan_without_that_axis(reconstructor, head_kspace):
    kspace = head_kspace(2)
    expected = reconstructor.reconstruct(kspace, MASK)
    check_equal(reconstructor.reconstruct(kspace[:, None], MASK), expected)
    check_equal(
        reconstructor.reconstruct(kspace[:1], MASK, coils=True), reconstructor.reconstruct(kspace[0], MASK)
    )


@pytest.mark.parametrize(
    ("shape", "options", "words"),
    [
        ((2, 2, 32, 32), {"coils": False}, r"expected complex \(slices, H, W\)"),
        ((32, 32), {"coils": True}, r"expected complex \(slices, coils, H, W\)"),
        ((32,), {}, r"expected complex \(slices, H, W\)"),
        ((2, 2, 32, 32), {"keep_samples": True}, "keep_samples needs samples"),
        ((2, 32, 32), {"keep_samples": True}, "keep_samples needs samples"),
        ((2, 32, 32), {"coil_combine": "rss"}, "coil_combine, .*single coil"),
        ((2, 32, 32), {"keep_coil_kspace": True}, "keep_coil_kspace .*single coil"),
        ((2, 32, 32), {"sensitivities": np.ones((4, 32, 32), np.complex64)}, "sensitivities, .*single coil"),
        ((2, 32, 32), {"up_to": "7x9"}, "--up-to 7x9"),
    ],
)
def test_refused(reconstructor, shape, options, words):
    with pytest.raises(UsageError, match=words):
        reconstructor.reconstruct(np.ones(shape, np.complex64), **options)


def test_warnings_are_raised_at_the_line_that_called(reconstructor, checkpoint, head_kspace):
    zeros = np.zeros_like(head_kspace(1))
    own = {"checkpoint": checkpoint, "device": "cpu", "steps": 1}
    for call in (
        lambda: reconstructor.reconstruct(zeros),
        lambda: reconstructor.denoise(zeros, 0.1),
        lambda: mri_iahvae.reconstruct(zeros, **own),
        lambda: mri_iahvae.denoise(zeros, 0.1, **own),
    ):
        with pytest.warns(IahvaeWarning) as caught:
            result = call()
        assert [str(one.message) for one in caught] == list(result.warnings)
        assert any("no signal" in warning for warning in result.warnings)
        assert {Path(one.filename) for one in caught} == {Path(__file__)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IahvaeWarning)
        assert reconstructor.reconstruct(zeros).warnings


def test_a_result_prints_in_five_lines(reconstructor, head_kspace, checkpoint):
    text = repr(reconstructor.reconstruct(head_kspace(2), MASK))
    assert text.splitlines() == [
        "Reconstruction of shape (2, 32, 32)",
        f"  bins: {MASK.mean():.1%} measured, {1 - MASK.mean():.1%} completed, 0.0% zero",
        "  method: hybrid, data consistency hard",
        f"  model: {checkpoint.name}",
        "  warnings: none",
    ]
    sampler = Reconstructor(checkpoint, "cpu", method="amortized", samples=3)
    with pytest.warns(IahvaeWarning):
        lines = str(sampler.denoise(np.zeros((32, 32), np.complex64), 0.1)).splitlines()
    assert len(lines) == 5
    assert lines[2] == "  method: amortized, data consistency soft, 3 posterior samples"
    assert lines[4].startswith("  warnings: no signal in the central 32x32 bins of slice 0: left zero; 3 ")
    assert len(lines[4]) < 115


def test_dir_is_the_api():
    found = dir(mri_iahvae)
    assert found == sorted(found)
    assert {"Reconstructor", "Prior", "draw_mask", "reconstruct", "denoise", "sample", "IahvaeWarning"} <= {
        *found
    }
    assert {getattr(mri_iahvae, name) for name in found if name != "__version__"}.isdisjoint({None})
    for name in found:
        if name != "__version__":
            assert getattr(mri_iahvae, name).__name__ == name
            assert getattr(mri_iahvae, name).__doc__


def test_a_tensor_of_a_type_that_numpy_lacks_is_refused_in_one_line(checkpoint):
    with pytest.raises(UsageError, match=r"torch\.bfloat16: expected a type that NumPy has"):
        Reconstructor(checkpoint, "cpu").reconstruct(torch.ones(1, 32, 32, dtype=torch.bfloat16))
