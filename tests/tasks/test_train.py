import json
import os
import signal
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

import mri_iahvae
import mri_iahvae.tasks.train as task
from mri_iahvae.errors import ScanError, UsageError
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.model.checkpoint import load_domain, load_model
from mri_iahvae.model.coarse_file import load_coarse
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.model.presets import preset
from mri_iahvae.pipeline.training_data import FolderSlices, TrainingData
from mri_iahvae.scans.reader import open_scan
from mri_iahvae.tasks.train import calibrate, train
from mri_iahvae.training.settings import Stage, TrainSettings
from tests import refusals

CPU = torch.device("cpu")
PRESET = preset("tiny").coarse(16)
SETTINGS = TrainSettings((Stage(16, 20, batch=2),), validate_every=10)


class Quiet:
    """Shows nothing; sends SIGINT at a step."""

    def __init__(self, stop_at=None):
        self.stop_at = stop_at

    def begin(self, text):
        pass

    def step(self, entry, _total):
        if entry["step"] == self.stop_at:
            os.kill(os.getpid(), signal.SIGINT)

    def validation(self, entry):
        pass


@pytest.fixture
def files(make_scan, tmp_path):
    """Makes so many scans in a folder."""

    def make(folder, count, **options):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            make_scan(f"{folder}/{number:02d}.h5", **{"slices": 1, "size": 16, **options})
        return tmp_path / folder

    return make


def refused(error, data, run, *patterns, **options):
    refusals.refused(lambda: start(data, run, **options), *patterns, error=error)


def start(data, run, *, stop_at=None, config=PRESET, settings=SETTINGS, **options):
    return train(data, run, config, settings, display=Quiet(stop_at), device=CPU, **options)


def split(folder):
    """Names of the files to train on, and of those held out."""
    data = TrainingData.open(folder, 16)
    return tuple([scan.path.name for scan in slices.scans] for slices in (data.training, data.held_out))


@pytest.mark.parametrize(
    ("count", "held_out"), [(2, [1]), (9, [8]), (10, [9]), (19, [9]), (20, [9, 19]), (31, [9, 19, 29])]
)
def test_every_tenth_file_is_held_out(files, count, held_out):
    expected = [[f"{k:02d}.h5" for k in range(count) if (k in held_out) == held] for held in (False, True)]
    assert list(split(files("data", count))) == expected


def test_fastmri_folders_are_the_split(files):
    files("data", 4)  # beside the two folders: ignored
    files("data/singlecoil_train", 11)
    folder = files("data", 0)
    training, held_out = split(folder)
    assert (len(training), held_out) == (10, ["09.h5"])
    (folder / "singlecoil_train" / "00.h5").rename(folder / "singlecoil_train" / "00.hdf5")
    files("data/singlecoil_val", 12)
    assert [len(names) for names in split(folder)] == [11, 12]


def test_slices_are_the_centres_of_all_scans(files):
    folder = files("data", 3, slices=2, size=32)
    slices = FolderSlices([open_scan(path) for path in sorted(folder.iterdir())], 16)
    assert len(slices) == 6
    kspace = open_scan(folder / "01.h5").read(1)[0]
    assert slices.read(3).shape == (16, 16)
    np.testing.assert_array_equal(slices.read(3), kspace[8:24, 8:24])
    assert slices.read(3)[8, 8] == kspace[16, 16]


def scaled(path, factors):
    with h5py.File(path, "r+") as file:
        file["kspace"][...] *= np.asarray(factors, np.float32)[:, None, None]


@pytest.mark.parametrize("scale", [1e-5, 1e-30, 1e15])
def test_nearly_empty_slices_are_left_out(files, scale):
    """By energy, as a fraction of the strongest slice of the same volume: the square of the amplitude."""
    folder = files("data", 2, slices=4, scale=scale)
    scaled(folder / "00.h5", [1, 0.2, 1e-3, 0])
    kept = TrainingData.open(folder, 16)
    assert kept.counts == (2, 4)
    np.testing.assert_array_equal(kept.training.read(1), open_scan(folder / "00.h5").read(1)[0])
    assert kept.warnings[0].startswith("2 slices of 8 left out, with hardly any signal")
    assert TrainingData.open(folder, 16, min_signal=0.1).counts == (1, 4)
    everything = TrainingData.open(folder, 16, min_signal=0)
    assert everything.counts == (4, 4)
    assert not any("hardly any signal" in text for text in everything.warnings)


def test_volumes_without_any_signal_are_no_data(files, tmp_path):
    folder = files("data", 2)
    scaled(folder / "01.h5", [0])
    refused(UsageError, folder, tmp_path / "run", "slices with signal")


@pytest.mark.parametrize(
    ("count", "slices", "expected"),
    [
        (2, 1, ["over a fifth", "1 slice held out"]),
        (2, 5, ["over a fifth"]),
        (9, 2, ["2 slices held out"]),
        (10, 5, []),
    ],
)
def test_a_held_out_part_that_is_too_large_or_too_small_is_named(files, count, slices, expected):
    found = TrainingData.open(files("data", count, slices=slices), 16).warnings
    assert len(found) == len(expected)
    assert all(words in text for words, text in zip(expected, found, strict=True))


def test_several_coils_are_one_image(tmp_path, head_kspace, coil_maps):
    """Up to a smooth phase and the accuracy of estimated sensitivities it is the image that the coils saw."""
    image = ifft2c(torch.from_numpy(head_kspace(1, 64))).numpy()
    for part in ("multicoil_train", "multicoil_val"):
        (tmp_path / part).mkdir()
        with h5py.File(tmp_path / part / "a.h5", "w") as file:
            file["kspace"] = fft2c(torch.from_numpy(image[:, None] * coil_maps(4, 64, 64))).numpy()
    data = TrainingData.open(tmp_path, 64)
    assert data.counts == (1, 1)
    found = ifft2c(torch.from_numpy(data.training.read(0))).numpy()
    assert found.dtype == np.complex64
    assert np.linalg.norm(np.abs(found) - np.abs(image[0])) < 0.02 * np.linalg.norm(image)
    central = TrainingData.open(tmp_path, 16).training.read(0)
    np.testing.assert_array_equal(central, data.training.read(0)[24:40, 24:40])


def test_data_that_cannot_be_used(files, make_scan, tmp_path):
    run = tmp_path / "run"
    refused(UsageError, tmp_path / "nowhere", run, "nowhere", "expected a folder")
    refused(UsageError, files("empty", 0), run, "empty", r"\*\.h5")
    refused(UsageError, files("one", 1), run, "one", "two files")
    files("halves/singlecoil_train", 1)
    refused(UsageError, files("halves/singlecoil_val", 0).parent, run, "singlecoil_val", "found none")
    mask = np.ones(16, bool)
    mask[3] = False
    data = files("masked", 2)
    make_scan("masked/05.h5", slices=1, size=16, mask=mask)
    refused(ScanError, data, run, r"05\.h5", "measured as a whole")
    refused(ScanError, files("small", 2, size=8), run, r"00\.h5", "16x16")
    (files("broken", 2) / "01.h5").write_bytes(b"no scan")
    refused(ScanError, tmp_path / "broken", run, r"01\.h5")
    assert not run.exists()  # checked before anything is written


def test_a_run(files, tmp_path):
    data, run = files("data", 3, slices=2), tmp_path / "runs" / "first"
    checkpoint = start(data, run)
    assert checkpoint == run / "model"
    model, _ = load_model(checkpoint)
    assert model.size == 16
    pictures = sorted((run / "pictures").iterdir())
    names = ["kl.png", *(f"stage0-grid016-step0000{step}.png" for step in (10, 20))]
    assert [path.name for path in pictures] == names
    record = json.loads((checkpoint / "config.json").read_text())["training"]
    assert (record["training_files"], record["training_slices"], record["data"]) == (2, 4, "data")
    assert str(tmp_path) not in json.dumps(record)  # a checkpoint does not name the path of its data
    assert load_domain(checkpoint).description == "not stated"
    refused(UsageError, data, run, "holds a run already", "--resume")


def test_the_picture_shows_slices_with_anatomy_beside_zero_filled_ones(tmp_path, monkeypatch):
    """Of slices without signal, of noise alone, and of blobs in between the last are shown."""
    drawn = []
    monkeypatch.setattr(task, "grid_figure", lambda *arguments: drawn.append(arguments))
    model = IAHVAE(replace(PRESET, gains=(9.0, 6.0, 4.0, 2.0, 0.7)))
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(3, 16, 16, dtype=torch.complex64, generator=generator)
    anatomy = torch.zeros_like(noise)
    anatomy[:, 6:11, 6:11] = 1 + 1j
    kspace = torch.stack([torch.zeros_like(noise), anatomy, noise], 1).flatten(0, 1)
    task._draw(model, tmp_path / "a.png", "step 7", kspace)
    ((_, rows, titles, title),) = drawn
    assert title == "step 7"
    assert titles[:4] == ["reference", "amortized", "zero-filled 4x4", "from 4x4"]
    central = torch.zeros_like(anatomy)
    central[:, 6:10, 6:10] = anatomy[:, 6:10, 6:10]
    for column, bins in ((0, anatomy), (2, central)):
        np.testing.assert_allclose([row[column] for row in rows], ifft2c(bins).abs(), atol=1e-6)
    task._draw(model, tmp_path / "a.png", "", kspace[::3])  # nothing else is there
    assert len(drawn[1][1]) == 3


ONE_STEP = TrainSettings((Stage(32, 1, batch=2),), validate_every=1)


def test_a_start_has_the_scales_of_the_model(files, checkpoint, tmp_path):
    """`checkpoint` is on the 32 x 32 grid."""
    data, run = files("data", 2, size=32), tmp_path / "run"
    tiny = preset("tiny")
    refused(
        UsageError, data, run, "its grid is 32, larger than that of the first stage, 16", start=checkpoint
    )
    other = replace(tiny, latent=2)
    refused(UsageError, data, run, "not those", config=other, settings=ONE_STEP, start=checkpoint)
    held = TrainSettings((replace(ONE_STEP.stages[0], scales=(16, 32)),))
    bottom_up = replace(tiny, encoder="bottom-up")
    refused(UsageError, data, run, "cannot grow or hold scales", config=bottom_up, settings=held)
    wavelets = replace(preset("tiny"), decomposition="wavelets")
    refused(
        UsageError, data, run, r"scales \(wavelets\) are coupled by the masks of training", config=wavelets
    )
    model, digest = load_model(start(data, run, config=tiny, settings=held, start=checkpoint))
    before, _ = load_model(checkpoint)
    for name, weight in before.state_dict().items():
        assert torch.equal(weight, model.state_dict()[name]) == (name.split(".")[1] in "0123"), name
    record = json.loads((run / "run.json").read_text())
    assert (record["start"], record["start_sha256"]) == (str(checkpoint), load_model(checkpoint)[1])
    assert digest != record["start_sha256"]


@pytest.mark.filterwarnings("ignore::mri_iahvae.IahvaeWarning")
@pytest.mark.parametrize(
    "choice",
    [{"encoder": "bottom-up"}, {"heads": "spectral"}, {"encoder": "bottom-up", "decoder": "ordinary"}],
    ids=lambda choice: "-".join(choice.values()),
)
def test_a_comparator_is_trained_and_reconstructs(files, head_kspace, tmp_path, choice):
    settings = TrainSettings((Stage(16, 2, batch=2),), validate_every=2)
    checkpoint = start(
        files("data", 2), tmp_path / "run", config=preset("tiny", grid=16, **choice), settings=settings
    )
    config = load_model(checkpoint)[0].config
    assert {name: getattr(config, name) for name in choice} == choice
    options = {"up_to": "8x8", "checkpoint": checkpoint, "steps": 2}
    assert np.isfinite(mri_iahvae.reconstruct(head_kspace(), samples=2, **options).magnitude).all()
    if "decoder" in choice:
        with pytest.raises(UsageError, match="not separable"):
            mri_iahvae.reconstruct(head_kspace(), method="paper", **options)


def test_the_coarse_prior_is_kept_when_a_checkpoint_is_calibrated_again(files, tmp_path):
    data, target = files("data", 3), tmp_path / "other"
    settings = TrainSettings((Stage(16, 2, batch=2),), validate_every=2)
    trained = start(data, tmp_path / "run", config=preset("tiny", grid=16), settings=settings)
    prior, _ = load_coarse(trained)
    assert prior.side == 8
    calibrate(trained, data, target)
    kept, _ = load_coarse(target)
    torch.testing.assert_close(kept.mixture.covariances, prior.mixture.covariances, rtol=1e-2, atol=1e-2)


def test_a_checkpoint_is_calibrated_again(files, checkpoint, tmp_path):
    data, target = files("data", 3, slices=3, size=32, acquisition="CORPD_FBK"), tmp_path / "model"
    calibrate(checkpoint, data, target)
    (before, digest), (after, same) = load_model(checkpoint), load_model(target)
    assert same == digest
    domain = load_domain(target)
    assert (domain.description, domain.slices) == ("CORPD_FBK", 24)  # eight draws of each held-out slice
    assert after.config == before.config
    calibrate(target, data, target, domain="ellipses", half=True)
    assert load_domain(target).description == "ellipses"
    halved, _ = load_model(target)
    assert all(
        torch.equal(a, b.half().float())
        for a, b in zip(halved.parameters(), before.parameters(), strict=True)
    )
