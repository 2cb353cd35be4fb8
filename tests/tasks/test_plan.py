import numpy as np
import pytest
import torch

import mri_iahvae
from mri_iahvae.errors import ScanError, UsageError
from mri_iahvae.pipeline.loaded import LoadedModel
from mri_iahvae.results.hdf5 import write_scan
from mri_iahvae.scans.mask_file import read_mask_file
from mri_iahvae.scans.reader import open_scan
from mri_iahvae.scans.undersampling import Sampling
from mri_iahvae.tasks.plan import plan_file

WIDTH = 32
CENTRE = abs(np.arange(WIDTH) - WIDTH // 2) < 3


@pytest.fixture
def full(head_kspace):
    return head_kspace(2, WIDTH)


@pytest.fixture
def loaded(checkpoint):
    return LoadedModel.load(checkpoint, torch.device("cpu"))


def test_columns_are_new_and_distinct_and_units_do_not_matter(full, checkpoint):
    found = mri_iahvae.plan(full, CENTRE, 6, checkpoint=checkpoint)
    assert len({*found.columns} - {*np.flatnonzero(CENTRE)}) == 6
    assert set(np.flatnonzero(found.mask)) == {*found.columns, *np.flatnonzero(CENTRE)}
    assert len(found.expected) == 7
    assert all(np.diff(found.expected) < 0)
    tiny = mri_iahvae.plan(torch.from_numpy(1e-30 * full), CENTRE, 6, checkpoint=checkpoint)
    assert tiny.columns == found.columns


def test_what_is_not_measured_decides_nothing_unless_it_is_simulated(full, checkpoint):
    hidden = np.where(CENTRE, full, np.nan)
    plain = mri_iahvae.plan(full, CENTRE, 4, checkpoint=checkpoint)
    assert mri_iahvae.plan(hidden, CENTRE, 4, checkpoint=checkpoint).columns == plain.columns
    first = mri_iahvae.plan(full, CENTRE, 2, checkpoint=checkpoint)
    again = mri_iahvae.plan(full, first.mask, 2, checkpoint=checkpoint)
    simulated = mri_iahvae.plan(full, CENTRE, 4, every=2, checkpoint=checkpoint)
    assert simulated.columns == first.columns + again.columns
    assert simulated.expected == first.expected[:2] + again.expected
    with pytest.raises(UsageError, match="finite"):
        mri_iahvae.plan(hidden, CENTRE, 4, every=2, checkpoint=checkpoint)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lines": WIDTH}, "27 columns left to plan"),
        ({"lines": 0}, "at least one"),
        ({"every": 0}, "at least one"),
        ({"mask": np.ones((WIDTH, WIDTH), bool)}, "expected columns"),
        ({"mask": np.zeros(WIDTH, bool)}, "around the centre first"),
    ],
)
def test_what_cannot_be_planned_is_one_line(full, checkpoint, change, words):
    arguments = {"kspace": full, "mask": CENTRE, "lines": 2, "checkpoint": checkpoint, **change}
    with pytest.raises(UsageError, match=words):
        mri_iahvae.plan(**arguments)


def test_the_mask_of_a_file_reads_back_and_padding_is_left_alone(native, loaded, tmp_path):
    scan = open_scan(native("640x368", acceleration=8))
    measured, acquired = scan.mask[0], np.arange(368)[slice(*scan.acquired)]
    report = plan_file(loaded, scan.path, tmp_path / "out", 3)
    mask = read_mask_file(report["mask"], scan.height, scan.width)
    assert (mask == mask[0]).all()
    assert set(np.flatnonzero(mask[0])) == {
        *report["columns"],
        *(set(np.flatnonzero(measured)) & {*acquired}),
    }
    assert set(report["columns"]) <= {*acquired} - {*np.flatnonzero(measured)}
    assert (tmp_path / "out" / "scan_plan.png").read_bytes().startswith(b"\x89PNG")


def test_a_simulated_scan_takes_columns_that_the_file_holds_and_no_others(full, loaded, tmp_path):
    held = np.arange(WIDTH) % 4 == 0
    path, start = tmp_path / "scan.h5", tmp_path / "start.npy"
    write_scan(path, np.where(CENTRE | held, full, 0), mask=CENTRE | held)
    np.save(start, CENTRE)
    left = np.flatnonzero(held & ~CENTRE)
    sampling = Sampling(mask_path=start)
    report = plan_file(loaded, path, tmp_path / "out", len(left), every=2, sampling=sampling)
    assert sorted(report["columns"]) == left.tolist()
    free = plan_file(loaded, path, tmp_path / "out", WIDTH - CENTRE.sum(), sampling=sampling)
    assert len(free["columns"]) == WIDTH - CENTRE.sum()
    with pytest.raises(UsageError, match=f"{len(left)} columns left"):
        plan_file(loaded, path, tmp_path / "out", len(left) + 1, every=2, sampling=sampling)


def test_measured_bins_that_are_no_columns_and_several_coils_are_refused(full, loaded, tmp_path):
    rows, coils = tmp_path / "rows.h5", tmp_path / "coils.h5"
    write_scan(rows, np.where(CENTRE[:, None], full, 0), mask=np.repeat(CENTRE[:, None], WIDTH, 1))
    write_scan(coils, np.where(CENTRE, np.stack([full, full], 1), 0), mask=CENTRE)
    for path, words in ((rows, "whole columns"), (coils, "single-coil")):
        with pytest.raises(ScanError, match=words):
            plan_file(loaded, path, tmp_path / "out", 2)
    assert not (tmp_path / "out").exists()


def test_a_slice_without_signal_is_left_out(full, checkpoint):
    empty = np.concatenate([full, np.zeros_like(full[:1])])
    found = mri_iahvae.plan(empty, CENTRE, 3, checkpoint=checkpoint)
    assert np.isfinite(found.expected).all()
