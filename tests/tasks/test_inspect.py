"""What `inspect` says is there, is there."""

import json
from dataclasses import asdict

import h5py
import nibabel
import numpy as np
import pytest

from mri_iahvae.errors import CheckpointError, UsageError
from mri_iahvae.inference.settings import inference_settings
from mri_iahvae.kspace.masks import column_mask
from mri_iahvae.model.checkpoint import load_model
from mri_iahvae.model.guide_file import load_guide
from mri_iahvae.pipeline.multicoil import reconstruct_coils
from mri_iahvae.pipeline.volume import reconstruct_volume
from mri_iahvae.scans.geometry import scan_geometry
from mri_iahvae.scans.reader import open_scan
from mri_iahvae.tasks.inspect import inspect

AMORTIZED = inference_settings(method="amortized")
HEADER = """<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>
<encodedSpace><matrixSize><x>{encoded[0]}</x><y>{encoded[1]}</y><z>1</z></matrixSize>
<fieldOfView_mm><x>280</x><y>175</y><z>4.5</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>{recon[0]}</x><y>{recon[1]}</y><z>1</z></matrixSize>
<fieldOfView_mm><x>140</x><y>140</y><z>4.5</z></fieldOfView_mm></reconSpace>
<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>{maximum}</maximum><center>{center}</center>
</kspace_encoding_step_1></encodingLimits></encoding></ismrmrdHeader>"""


def bins(shape, sigma=0.0):
    """k-space (..., H, W) that falls off from DC as that of an image does, with noise of sigma per part."""
    rng = np.random.default_rng(0)
    y, x = (np.arange(n) - n // 2 for n in shape[-2:])
    radius = np.hypot(y[:, None], x)
    parts = rng.normal(size=(2, 2, *shape))
    signal = (parts[0, 0] + 1j * parts[0, 1]) * np.exp(-radius / 3)
    return (signal + sigma * (parts[1, 0] + 1j * parts[1, 1])).astype(np.complex64)


@pytest.fixture
def write(tmp_path):
    """Writes datasets as they are; `header` is made of sizes and limits, `attributes` go to the file."""

    def save(kspace, *, header=None, attributes=None, **datasets):
        path = tmp_path / "scan.h5"
        with h5py.File(path, "w") as file:
            file["kspace"] = kspace
            for name, values in datasets.items():
                file[name] = values
            if header is not None:
                file["ismrmrd_header"] = HEADER.format(**header)
            file.attrs.update(attributes or {})
        return path

    return save


@pytest.fixture
def native(write):
    """As fastMRI's test data: readout twice oversampled, columns padded, four times undersampled."""

    def save(slices=3, padding=6, coils=None, **options):
        shape = (slices, 128, 80) if coils is None else (slices, coils, 128, 80)
        mask = column_mask(80, 4, 0.08, "random", "scan.h5")
        kspace = bins(shape, 0.01)
        kspace[..., : padding - 2] = kspace[..., 80 - padding :] = 0
        header = {
            "encoded": (128, 80),
            "recon": (64, 64),
            "center": 40 - padding + 2,
            "maximum": 81 - 2 * padding,
        }
        return write(np.where(mask, kspace, 0), mask=mask, header=header, **options), mask

    return save


def levels(inspection):
    return [finding.level for finding in inspection.findings]


def test_a_scan_as_it_comes(native, checkpoint):
    path, mask = native(attributes={"acquisition": "CORPD_FBK", "patient_id": "0123"})
    found = inspect(path, checkpoint)
    inner = mask[4:74]
    assert (found.pattern.kind, found.pattern.measured, found.pattern.total) == ("columns", inner.sum(), 70)
    assert found.pattern.true_acceleration == pytest.approx(70 / inner.sum())
    assert found.pattern.centre >= 6
    assert (found.plan.grid, found.plan.field, found.plan.image) == (32, (64, 80), (64, 64))
    assert levels(found) == ["note"]
    assert found.findings[0].text == "no reference images: no scores"
    found_json = json.loads(json.dumps(found.to_json(), allow_nan=False))
    expected = {
        "slices": 3,
        "coils": 1,
        "height": 128,
        "width": 80,
        "acquired_columns": [4, 74],
        "usable": True,
    }
    assert {**expected, "readout_oversampling": 2}.items() <= found_json.items()
    assert found_json["mask"]["source"] == "file"
    assert found_json["header"]["encoded"] == [128, 80]
    assert found_json["header"]["recon_fov"] == [140, 140, 4.5]
    assert found_json["attributes"] == {"acquisition": "CORPD_FBK"}  # never the patient's identifier
    assert "0123" not in json.dumps(found_json)
    assert found_json["reconstruct"] == json.loads(json.dumps(asdict(found.plan)))


@pytest.mark.parametrize("padding", [2, 6])
@pytest.mark.parametrize("shape", [(128, 80), (41, 28), (20, 90)])
def test_the_plan_is_what_the_engine_does(write, checkpoint, shape, padding):
    """Fractions of measured, completed and zero bins, on grids larger and smaller than k-space."""
    mask = column_mask(shape[1], 4, 0.2, "random", "scan.h5")
    kspace = bins((1, *shape))
    kspace[..., :padding] = kspace[..., -padding:] = 0
    path = write(np.where(mask, kspace, 0), mask=mask)
    plan = inspect(path, checkpoint).plan
    scan = open_scan(path)
    geometry = scan_geometry(scan)
    model, _ = load_model(checkpoint)
    reduced, used = geometry.reduce(scan.read(0)), geometry.reduce_mask(scan.mask)
    guide, _ = load_guide(checkpoint)
    result = reconstruct_volume(model, reduced, used, AMORTIZED, guide=guide, acquired=scan.acquired)
    assert plan.fractions == pytest.approx(result.fractions)
    assert geometry.crop(result.image).shape[1:] == plan.image


def test_the_plan_of_several_coils_is_what_they_do(native, checkpoint):
    """Sensitivities fill what the model's grid does not reach."""
    path, _ = native(slices=1, coils=3)
    plan, scan = inspect(path, checkpoint).plan, open_scan(path)
    geometry, (model, _) = scan_geometry(scan), load_model(checkpoint)
    kspace = geometry.reduce(scan.read_coils(slice(None)))
    used = geometry.reduce_mask(scan.mask)
    result = reconstruct_coils(
        model, kspace, used, AMORTIZED, guide=load_guide(checkpoint)[0], acquired=scan.acquired
    )
    assert plan.fractions == pytest.approx(result.fractions)
    start, stop = scan.acquired
    assert plan.fractions["zero"] == pytest.approx((80 - stop + start) / 80)
    assert 0 < plan.fractions["zero"] < 0.2


@pytest.mark.parametrize("coils", [None, 3])
def test_noise_is_estimated(write, checkpoint, coils):
    shape = (4, 128, 80) if coils is None else (4, coils, 128, 80)
    clean = bins(shape)
    found = inspect(write(1e-6 * bins(shape, 0.02)), checkpoint)
    assert found.noise.source == "estimate"
    assert found.noise.sigma == pytest.approx(2e-8, rel=0.05)
    assert found.noise.relative == pytest.approx(0.02 / np.sqrt(np.mean(np.abs(clean) ** 2)), rel=0.1)


def test_a_stated_noise_level_is_taken(write, checkpoint):
    path = write(bins((3, 40, 40), 0.1), noise_sigma=np.array([0.1, 0.2, 0.3]))
    noise = inspect(path, checkpoint).noise
    assert (noise.sigma, noise.source) == (0.2, "file")
    absurd = inspect(write(bins((3, 40, 40), 0.1), noise_sigma=1e300), checkpoint)
    assert (absurd.noise.sigma, absurd.noise.relative) == (1e300, None)


def damaged(case, mask):
    kspace = bins((3, 40, 40), 0.001)
    files = {
        "a slice of zeros": {"kspace": np.where(np.arange(3)[:, None, None] == 1, 0, kspace)},
        "shifted": {"kspace": np.fft.ifftshift(kspace, axes=(-2, -1))},
        "no centre": {"kspace": np.where(np.abs(np.arange(40) - 20) < 2, 0, kspace)},
        "rows": {"kspace": np.where(mask[:, None], kspace, 0)},
        "wrong mask": {"kspace": np.where(mask, kspace, 0), "mask": np.ones(40)},
        "strange reference": {"kspace": kspace, "reconstruction_esc": np.ones((3, 90, 30), np.float32)},
        "header of another": {
            "kspace": kspace,
            "header": {"encoded": (64, 40), "recon": (32, 32), "center": 20, "maximum": 39},
        },
        "coils without centre": {
            "kspace": np.where(mask & (np.arange(40) != 20), kspace[:, None], 0)[:, [0, 0]]
        },
        "wrong level": {"kspace": kspace, "noise_sigma": 1.0},
        "full": {"kspace": kspace},
        "NaN": {"kspace": np.where(np.arange(40) == 3, np.nan, kspace)},
    }
    return files[case]


@pytest.mark.parametrize(
    ("case", "level", "text", "fix"),
    [
        ("a slice of zeros", "warning", "1 of 3 slices holds no signal: 1", "expect zeros"),
        ("shifted", "error", "k-space is strongest at row 0, column 0", "--fftshift both moves it there"),
        ("no centre", "warning", "row 20 and column 20, is not measured", "check that mask"),
        ("rows", "note", "whole rows are missing", "swap the last two axes"),
        (
            "wrong mask",
            "warning",
            "of the bins that the mask calls measured are zero: taken as data",
            "correct the mask",
        ),
        ("strange reference", "warning", "the reference is 90x30, which no crop of 40x40", "native size"),
        ("header of another", "warning", "'ismrmrd_header' says 64x40, the array is 40x40", ""),
        ("coils without centre", "error", "2 coils, and 0 lines around the centre", "at least 4 are needed"),
        ("wrong level", "warning", "times the estimate from the data", "--sigma"),
        ("full", "note", "`reconstruct` would return the data", "--up-to or --acceleration"),
        ("NaN", "error", "slice 0", "set what was not measured to zero"),
    ],
)
def test_findings(write, checkpoint, case, level, text, fix):
    mask = np.zeros(40, bool)
    mask[[0, 5, 10, 15, 18, 19, 20, 21, 22, 25, 30, 39]] = True
    found = inspect(write(**damaged(case, mask)), checkpoint)
    (finding,) = [finding for finding in found.findings if text in finding.text]
    assert finding.level == level
    assert fix in finding.fix
    assert "\n" not in finding.text + finding.fix
    assert bool(found.errors) == (level == "error")
    assert found.to_json()["usable"] == (level != "error")


def test_a_good_scan_has_no_problem(write, checkpoint):
    kspace = bins((3, 40, 40), 0.001)
    mask = np.abs(np.arange(40) - 20) < 15
    header = {"encoded": (40, 40), "recon": (40, 40), "center": 20, "maximum": 39}
    reference = np.ones((3, 40, 40), np.float32)
    path = write(np.where(mask, kspace, 0), mask=mask, header=header, reconstruction_esc=reference)
    assert inspect(path, checkpoint).findings == ()


@pytest.mark.parametrize("affine", [None, np.diag([1.0, 1, 4, 1])])
def test_other_formats(tmp_path, checkpoint, affine):
    """An image states where it lies; a bare array does not."""
    if affine is None:
        path = tmp_path / "scan.npy"
        np.save(path, bins((3, 40, 36)))
    else:
        path = tmp_path / "image.nii.gz"
        nibabel.save(nibabel.Nifti1Image(np.abs(bins((36, 40, 3))), affine), path)
    found = inspect(path, checkpoint)
    assert (found.scan.slices, found.scan.height, found.scan.width) == (3, 40, 36)
    unknown = [finding for finding in found.findings if "unknown" in finding.text]
    size = [finding for finding in found.findings if "--image-size" in finding.fix]
    assert len(unknown) == len(size) == (affine is None)
    assert all("voxel sizes" in finding.text and "--image-size" not in finding.fix for finding in unknown)


def test_checkpoints(write, tmp_path):
    path = write(bins((1, 40, 40)))
    assert inspect(path).plan.grid == 128
    with pytest.raises(UsageError, match="--checkpoint nowhere"):
        inspect(path, "nowhere")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        inspect(path, tmp_path / "broken")


def test_the_slice_with_fewest_bins_is_described(tmp_path):
    kspace = bins((3, 48, 48), 0.01)
    kspace[2, :, 36:] = 0
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["kspace"] = kspace
    found = inspect(tmp_path / "scan.h5")
    assert (found.pattern.kind, found.pattern.measured) == ("columns", 36)
    assert not any("would return the data" in finding.text for finding in found.findings)
