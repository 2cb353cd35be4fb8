"""Scores of files, against the numbers of fastMRI's own evaluation of the same files."""

from argparse import Namespace

import h5py
import numpy as np
import pytest
from fastmri import evaluate as reference

import mri_iahvae
from mri_iahvae.errors import ScanError, UsageError
from mri_iahvae.scans.reader import Reading
from mri_iahvae.tasks.evaluate import UNSTATED, file_pairs

VOLUMES = {f"{name}.h5": "CORPD_FBK" if name in "ace" else "CORPDFS_FBK" for name in "abcde"}


def write(path, attrs=None, **datasets):
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values
        file.attrs.update(attrs or {})
    return path


@pytest.fixture
def volumes(tmp_path, rng):
    """Targets taller than wide in fastMRI's tiny units, predictions with a margin, as from uncropped k-space."""
    y, x = np.mgrid[:30, :26] / 10
    for number, (name, acquisition) in enumerate(VOLUMES.items()):
        slices = 1 + number
        whole = 1e-5 * (np.sin(y + number) ** 2 + np.cos(x) ** 2 + 0.2 * rng.random((slices, 30, 26)))
        noisy = whole + 1e-6 * (1 + number) * rng.normal(size=whole.shape)
        target = whole[:, 2:-2, 3:-3].astype(np.float32)
        attrs = {"acquisition": acquisition}
        write(tmp_path / "targets" / name, attrs, reconstruction_esc=target, reconstruction_rss=2 * target)
        write(tmp_path / "predictions" / name, reconstruction=noisy.astype(np.float32))
    return tmp_path / "predictions", tmp_path / "targets"


def fastmri_metrics(predictions, targets, acquisition=None, key="reconstruction_esc"):
    arguments = Namespace(
        predictions_path=predictions, target_path=targets, acquisition=acquisition, acceleration=None
    )
    return reference.evaluate(arguments, key)


def agrees(summary, metrics):
    """With fastMRI, whose sums are of single precision."""
    for ours, theirs in (summary.mean, metrics.means()), (summary.std, metrics.stddevs()):
        for name, value in ours.items():
            assert value == pytest.approx(float(theirs[name.upper()].item()), rel=2e-4), name


def test_every_number_is_that_of_fastmri(volumes):
    result = mri_iahvae.evaluate(*volumes)
    assert result.failures == ()
    agrees(result.overall, fastmri_metrics(*volumes))
    assert list(result.by_acquisition) == ["CORPDFS_FBK", "CORPD_FBK"]
    for acquisition, summary in result.by_acquisition.items():
        assert summary.volumes == list(VOLUMES.values()).count(acquisition)
        agrees(summary, fastmri_metrics(*volumes, acquisition))
        filtered = mri_iahvae.evaluate(*volumes, acquisition=acquisition)
        assert filtered.overall == summary
    with pytest.raises(UsageError, match="AXT2: no target has it; found CORPDFS_FBK, CORPD_FBK"):
        mri_iahvae.evaluate(*volumes, acquisition="AXT2")
    assert [volume.slices for volume in result.volumes] == [2, 4, 1, 3, 5]
    assert result.overall.std["nmse"] > 0.1 * result.overall.mean["nmse"] > 0


def test_the_target_can_be_named(volumes):
    result = mri_iahvae.evaluate(*volumes, target="reconstruction_rss")
    agrees(result.overall, fastmri_metrics(*volumes, key="reconstruction_rss"))
    assert {volume.dataset for volume in result.volumes} == {"reconstruction_rss"}


def test_what_the_tool_writes_is_scored_as_it_reports(make_scan, tmp_path, checkpoint):
    """Without a reference dataset the fully sampled k-space serves."""
    scan = make_scan(noise=0.05, slices=2)
    with h5py.File(scan) as file:
        kspace = file["kspace"][()]
    result = mri_iahvae.reconstruct(kspace, up_to="16x16", steps=1, checkpoint=checkpoint, device="cpu")
    prediction = write(tmp_path / "out" / "scan.h5", reconstruction=result.magnitude)
    scored = mri_iahvae.evaluate(prediction, scan).volumes[0]
    everything = mri_iahvae.reconstruct(kspace, steps=1, checkpoint=checkpoint, device="cpu").magnitude
    assert scored.dataset == "kspace"
    assert scored.acquisition == UNSTATED
    error = np.linalg.norm(result.magnitude - everything) ** 2 / np.linalg.norm(everything) ** 2
    assert scored.scores.nmse == pytest.approx(error, rel=1e-4)
    assert scored.scores.nmse > 1e-3


def test_targets_are_made_of_kspace_as_it_is_to_be_read(make_scan, tmp_path):
    target = make_scan(name="scan.h5")
    with h5py.File(target) as file:
        images = np.abs(np.fft.fftshift(np.fft.ifft2(file["kspace"], norm="ortho"), axes=(-2, -1)))
    path = write(tmp_path / "out" / "scan.h5", reconstruction=images)
    with h5py.File(target, "r+") as file:
        file["data/ksp"] = np.fft.ifftshift(file["kspace"], axes=-1)
        del file["kspace"]
    reading = Reading("data/ksp", fftshift="columns")
    (volume,) = mri_iahvae.evaluate(path, target, reading=reading).volumes
    assert volume.scores.nmse == pytest.approx(0, abs=1e-10)
    (failure,) = mri_iahvae.evaluate(path, target).failures
    assert "found none" in failure.error


def test_targets_without_prediction_can_be_left_out(volumes):
    predictions, targets = volumes
    first, *others = sorted(VOLUMES)
    for name in others:
        (predictions / name).unlink()
    with pytest.raises(UsageError, match=r"no prediction for .* \(targets: --partial\)$"):
        file_pairs(predictions, targets)
    pairs = [(predictions / first, targets / first)]
    assert file_pairs(predictions, targets, partial=True) == (pairs, len(others))
    evaluation = mri_iahvae.evaluate(predictions, targets, partial=True)
    assert [volume.prediction.name for volume in evaluation.volumes] == [first]
    assert evaluation.left_out == evaluation.to_json()["left_out"] == len(others)
    (predictions / first).rename(predictions / "z.h5")
    with pytest.raises(UsageError, match=r"found no target for z\.h5 and no prediction for"):
        file_pairs(predictions, targets, partial=True)  # nothing is left to score


def test_pairs(volumes, tmp_path):
    predictions, targets = volumes
    names = sorted(VOLUMES)
    (predictions / "a_kspace.png").write_text("a picture beside it")
    assert file_pairs(predictions, targets) == ([(predictions / name, targets / name) for name in names], 0)
    for files in (("a.h5", ""), ("", "b.h5"), ("a.h5", "b.h5")):
        pair = tuple(
            folder / (name or other) for folder, name, other in zip(volumes, files, files[::-1], strict=True)
        )
        assert file_pairs(predictions / files[0], targets / files[1]) == ([pair], 0)
    (predictions / "a.h5").rename(predictions / "y.h5")
    (tmp_path / "empty").mkdir()
    for left, right, message in (
        (predictions, targets, r"no target for y\.h5 and no prediction for a\.h5; "),
        (predictions / "y.h5", targets, r"found no target for y\.h5; "),
        (predictions, targets / "a.h5", r"found no prediction for a\.h5; "),
        (tmp_path / "empty", targets, "expected HDF5 files"),
    ):
        with pytest.raises(UsageError, match=message):
            file_pairs(left, right)
    with pytest.raises(ScanError, match="none: expected an HDF5 file or a folder"):
        file_pairs(predictions, tmp_path / "none")


@pytest.mark.parametrize(
    ("prediction", "target", "pattern"),
    [
        ((2, 20, 20), np.ones((3, 20, 20)), "expected 3 slices, as in the target, found 2"),
        ((2, 20, 19), np.ones((2, 20, 20)), "expected at least 20x20, got 20x19 pixels of 'reconstruction'"),
        ((2, 20, 20), np.ones((2, 20, 6)), "a target of at least 7x7"),
        ((2, 20, 20), np.zeros((2, 20, 20)), "expected a target with signal"),
    ],
)
def test_volumes_that_do_not_fit_are_failures_of_their_own(volumes, prediction, target, pattern):
    predictions, targets = volumes
    before = mri_iahvae.evaluate(*volumes)
    write(predictions / "z.h5", reconstruction=np.ones(prediction))
    write(targets / "z.h5", reconstruction_esc=target)
    result = mri_iahvae.evaluate(*volumes)
    assert result.overall == before.overall
    assert [failure.prediction.name for failure in result.failures] == ["z.h5"]
    assert pattern in result.failures[0].error


def test_weighted_coils_are_not_compared_with_a_root_sum_of_squares(tmp_path, rng):
    image = rng.random((1, 12, 12)).astype(np.float32)
    result = write(tmp_path / "a.h5", {"coil_combine": "sensitivity"}, reconstruction=image)
    target = write(tmp_path / "t.h5", reconstruction_rss=image, own_kind=image)
    (failure,) = mri_iahvae.evaluate(result, target).failures
    assert (
        "expected a root sum of squares, as the target is, found a sensitivity-weighted sum" in failure.error
    )
    assert mri_iahvae.evaluate(result, target, target="own_kind").overall.mean["nmse"] == 0
    result = write(tmp_path / "a.h5", {"coil_combine": "rss"}, reconstruction=image)
    assert mri_iahvae.evaluate(result, target).overall.mean["nmse"] == 0
