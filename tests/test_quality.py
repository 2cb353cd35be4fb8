"""`benchmarks/quality.py` and its parts: tasks, compressed sensing, resumed results, tables, the paper's Table 1."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.model.checkpoint import load_model
from mri_iahvae.pipeline.volume import reconstruct_volume
from mri_iahvae.training.objective import posterior_pass

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def _siblings(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def folder(make_scan):
    """A folder with two fully sampled scans of three slices, 32 x 32, and their references."""
    for name in ("a.h5", "b.h5"):
        path = make_scan(name, slices=3, reference=True, noise=0.002)
    return path.parent


@pytest.fixture
def measure(folder):
    """Makes the measurements of the task of a name."""
    from quality_tasks import TASKS, measurements  # noqa: PLC0415

    def make(name, chosen=slice(None)):
        return measurements(folder, next(task for task in TASKS if task.name == name), chosen)

    return make


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("everything measured", 1),
        ("up to 8x8", 64 / 1024),
        ("random columns 4x / 0.08", 0.25),
        ("denoise 0.2", 1),
    ],
)
def test_a_task_measures_its_share_and_leaves_nothing_elsewhere(measure, name, share):
    for one in measure(name):
        assert one.mask.mean() == pytest.approx(share, abs=0.13 if "random" in name else 0)
        assert not one.kspace[:, ~one.mask].any()
        if not one.task.noise:
            np.testing.assert_array_equal(one.kspace[:, one.mask], one.full[:, one.mask])


def test_the_variable_density_mask_has_its_acceleration_and_centre():
    from quality_tasks import variable_density  # noqa: PLC0415

    mask = variable_density(128, 6.0, "scan.h5")
    assert mask.mean() == pytest.approx(1 / 6, abs=0.01)
    assert mask[58:70, 58:70].all()
    np.testing.assert_array_equal(mask, variable_density(128, 6.0, "scan.h5"))
    assert (mask != variable_density(128, 6.0, "other.h5")).any()


def test_noise_is_a_share_of_the_magnitude(measure):
    for one in measure("denoise 1.0"):
        np.testing.assert_allclose(one.sigma, np.sqrt(np.mean(np.abs(one.full) ** 2, axis=(1, 2))), rtol=1e-5)
        noise = (one.kspace - one.full) / one.sigma[:, None, None]
        assert noise.real.std() == pytest.approx(1, abs=0.05)
        assert noise.imag.std() == pytest.approx(1, abs=0.05)


def test_a_choice_of_slices_changes_neither_mask_nor_noise(measure):
    for name in ("denoise 0.2", "2-D variable density 6x"):
        for every, second in zip(measure(name), measure(name, slice(1, None, 2)), strict=True):
            np.testing.assert_array_equal(second.mask, every.mask)
            np.testing.assert_array_equal(second.kspace, every.kspace[1::2])
            np.testing.assert_array_equal(second.reference, every.reference[1::2])


def test_measured_bins_are_put_back_where_the_task_holds_them(measure):
    wrong = np.ones((3, 32, 32), np.complex64)
    for one in measure("up to 8x8"):
        bins = fft2c(torch.from_numpy(one.consistent(wrong))).numpy()
        peak = np.abs(one.kspace).max()
        np.testing.assert_allclose(bins[:, one.mask], one.kspace[:, one.mask], atol=1e-5 * peak)
        np.testing.assert_allclose(bins[:, ~one.mask], 0, atol=1e-5 * peak)  # a constant image has DC alone
    for one in measure("denoise 0.2"):
        np.testing.assert_array_equal(one.consistent(wrong), wrong)


@pytest.mark.parametrize("name", ["total variation", "L1-wavelet"])
def test_compressed_sensing_with_everything_measured_and_no_weight_is_the_inverse_fft(name, head_kspace):
    pytest.importorskip("sigpy")
    from classical import CLASSICAL  # noqa: PLC0415

    kspace = head_kspace(1, 32)[0]
    image = CLASSICAL[name].run(kspace, np.ones((32, 32), bool), 1e-3)
    expected = ifft2c(torch.from_numpy(kspace)).numpy()
    np.testing.assert_allclose(image, expected, atol=0.02 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["total variation", "L1-wavelet"])
def test_compressed_sensing_beats_zero_filling(name, measure):
    pytest.importorskip("sigpy")
    from classical import CLASSICAL  # noqa: PLC0415

    one = measure("2-D variable density 6x")[0]
    zero_filled = ifft2c(torch.from_numpy(one.kspace)).numpy()
    before, after = one.scored(zero_filled), one.scored(CLASSICAL[name].reconstruct(one, 0.01))
    assert np.mean([s.nmse for s in after]) < 0.9 * np.mean([s.nmse for s in before])


@pytest.mark.parametrize(("name", "package"), [("wavelet shrinkage", "pywt"), ("BM3D", "bm3d")])
def test_denoisers_beat_the_noise_whatever_its_units(name, package, measure):
    pytest.importorskip(package)
    from classical import CLASSICAL  # noqa: PLC0415

    one = measure("denoise 0.2")[0]
    noisy = ifft2c(torch.from_numpy(one.kspace)).numpy()
    image = CLASSICAL[name].reconstruct(one, None)
    before, after = one.scored(noisy), one.scored(image)
    assert np.mean([s.nmse for s in after]) < 0.6 * np.mean([s.nmse for s in before])
    louder = replace(one, kspace=1e6 * one.kspace, sigma=1e6 * one.sigma)
    scaled = CLASSICAL[name].reconstruct(louder, None)
    np.testing.assert_allclose(scaled, 1e6 * image, atol=1e4 * np.abs(image).max())


def test_tuning_finds_the_best_weight_of_the_grid(measure):
    from classical import GRID, Classical, tune  # noqa: PLC0415

    one = measure("denoise 0.2")[:1]  # a task that puts nothing back
    for best in (GRID[0], 0.1, 0.000562, GRID[-1]):

        def off_by(kspace, mask, weight, best=best):
            return np.full(kspace.shape, 10 * abs(math.log(weight / best)), np.complex64)

        found = tune(Classical(off_by, "sigpy", tuned=True, noise=False), one)
        assert min(found, key=found.get) == best
        assert len(found) < len(GRID)


def test_rows_are_kept_only_where_nothing_that_decides_them_changed(tmp_path, measure):
    from quality_results import Results, fingerprint  # noqa: PLC0415

    path, facts = tmp_path / "rows.json", {"slices": 6}
    measured = measure("up to 8x8")
    print_of = {weight: fingerprint(measured, {"weight": weight}) for weight in (0.1, 0.2)}
    assert print_of[0.1] == fingerprint(measure("up to 8x8"), {"weight": 0.1}) != print_of[0.2]
    assert fingerprint(measured[:1], {"weight": 0.1}) != print_of[0.1]

    results = Results(path, {"up to 8x8": {"first": print_of[0.1], "second": print_of[0.1]}}, facts)
    results.add("up to 8x8", "second", {"nmse": 2.0})
    results.add("up to 8x8", "first", {"nmse": 1.0})
    assert list(json.loads(path.read_text())["tasks"]["up to 8x8"]) == ["first", "second"]  # the plan's order

    changed = {"up to 8x8": {"first": print_of[0.2], "second": print_of[0.1]}, "other": {"first": "x"}}
    resumed = Results(path, changed, facts)
    assert [resumed.has("up to 8x8", name) for name in ("first", "second")] == [False, True]
    assert not resumed.has("other", "first")
    resumed.save()
    assert list(json.loads(path.read_text())["tasks"]["up to 8x8"]) == ["second"]

    part = tmp_path / "part.json"
    Results(part, changed, facts).add("other", "first", {"nmse": 3.0})
    merged = Results(path, changed, facts, [part])
    assert merged.rows["other"]["first"]["nmse"] == 3.0
    assert merged.has("up to 8x8", "second")


def test_a_file_of_something_else_is_not_overwritten(tmp_path):
    from quality_results import Results  # noqa: PLC0415

    path = tmp_path / "config.json"
    path.write_text('{"sha256": ""}')
    with pytest.raises(Exception, match=r"config.json: expected the rows of an earlier run"):
        Results(path, {}, {})
    assert path.read_text() == '{"sha256": ""}'


ROWS = {
    "up to 8x8": {
        "zero-filled": {"nmse": 0.2, "psnr": 20.0, "ssim": 0.5, "seconds_per_slice": 0.0},
        "total variation": {"nmse": 0.1, "psnr": 22.0, "ssim": 0.6, "seconds_per_slice": 0.3},
        "hybrid N=10": {"nmse": 0.12, "psnr": 21.0, "ssim": 0.7, "seconds_per_slice": 0.5},
    },
    "denoise 0.2": {"noisy": {"nmse": 0.05}, "hybrid N=10": {"nmse": 0.0123}},
}


def test_the_short_table_has_a_line_for_each_task_and_the_best_in_bold():
    from quality_tables import short  # noqa: PLC0415

    assert short(ROWS) == (
        "| task | zero-filled, noisy | total variation | ours |\n"
        "| --- | --- | --- | --- |\n"
        "| up to 8x8 | 0.2000 | **0.1000** | 0.1200 |\n"
        "| denoise 0.2 | 0.0500 |  | **0.0123** |\n"
    )


def test_the_full_table_has_every_score_that_there_is():
    from quality_tables import full  # noqa: PLC0415

    lines = full({**ROWS, "x": {"amortized": {"nmse": 0.1, "nll": -0.5, "active_units": 0.125}}}).splitlines()
    assert lines[0] == "| task | method | NMSE | PSNR (dB) | SSIM | NLL | active units | s / slice |"
    assert lines[3] == "| up to 8x8 | total variation | 0.1000 | 22.00 | 0.600 |  |  | 0.30 |"
    assert lines[-1] == "| x | amortized | 0.1000 |  |  | -0.50 | 12.5% |  |"


def test_tables_are_written_between_their_marks_only(tmp_path):
    from quality_tables import full, main, short  # noqa: PLC0415

    marks = "before\n<!-- quality:begin -->\nold\n<!-- quality:end -->\nafter\n"
    readme, card, rows = (tmp_path / name for name in ("README.md", "CARD.md", "quality.json"))
    readme.write_text(marks)
    card.write_text(marks)
    rows.write_text(json.dumps({"tasks": ROWS}))
    arguments = [str(rows), "--readme", str(readme), "--card", str(card)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert readme.read_text() == marks.replace("old\n", short(ROWS))
    assert card.read_text() == marks.replace("old\n", full(ROWS))
    card.write_text("no marks")
    failed = CliRunner().invoke(main, arguments)
    assert failed.exit_code == 1
    assert "CARD.md: expected one pair of <!-- quality:begin -->" in failed.output
    assert card.read_text() == "no marks"


def test_quality_scores_resumes_and_draws(tmp_path, folder, checkpoint):
    from quality import main  # noqa: PLC0415

    rows = tmp_path / "rows" / "quality.json"
    arguments = [str(folder), "--checkpoint", str(checkpoint), "--json", str(rows)]
    first = CliRunner().invoke(
        main, [*arguments, "--task", "up to 8x8", "--figures", str(tmp_path / "figures")]
    )
    assert first.exit_code == 0, first.output
    record = json.loads(rows.read_text())
    assert record["slices"] == 6
    assert (tmp_path / "figures" / "up_to_8x8.png").stat().st_size > 10_000
    found = record["tasks"]["up to 8x8"]
    assert {"zero-filled", "amortized", "hybrid N=10"} <= set(found)
    assert all(row["nmse"] > 0 and row["seconds_per_slice"] >= 0 for row in found.values())

    again = CliRunner().invoke(main, [*arguments, "--task", "up to"])
    assert again.exit_code == 0, again.output
    lines = again.output.splitlines()
    assert all(line.endswith("(kept)") == line.startswith("up to 8x8") for line in lines if "NMSE" in line)
    tasks = json.loads(rows.read_text())["tasks"]
    assert tasks["up to 8x8"] == found
    assert list(tasks) == [f"up to {s}x{s}" for s in (8, 16, 32, 64)]

    fewer = CliRunner().invoke(main, [*arguments, "--task", "up to 8x8", "--slices", "1"])
    assert fewer.exit_code == 0, fewer.output
    assert "(kept)" not in fewer.output
    assert json.loads(rows.read_text())["slices"] == 2


def test_zero_filled_and_ours_are_scored_as_the_package_computes_them(folder, checkpoint, measure):
    from quality_methods import Tools, methods  # noqa: PLC0415

    tools = Tools.load(str(checkpoint), BENCHMARKS / "missing.json", None)
    one = measure("up to 8x8")[0]
    by_name = {method.name: method for method in methods(one.task, tools)}
    assert list(by_name) == ["zero-filled", "amortized", "hybrid N=10", "hybrid N=10, 4 shifts"]
    expected = reconstruct_volume(tools.model, one.full, None, InferenceSettings(), up_to=8)
    np.testing.assert_array_equal(by_name["hybrid N=10"].run(one), expected.image)
    zero_filled = ifft2c(torch.from_numpy(expected.zero_filled)).numpy()
    np.testing.assert_array_equal(by_name["zero-filled"].run(one), zero_filled)


def test_the_negative_log_likelihood_is_that_of_the_white_gaussian():
    from table1 import negative_log_likelihood  # noqa: PLC0415

    generator = torch.Generator().manual_seed(0)
    bins, truth = torch.randn(2, 2, 8, 8, dtype=torch.complex64, generator=generator)
    density = torch.distributions.Normal(torch.view_as_real(bins).double(), 0.3)
    expected = -density.log_prob(torch.view_as_real(truth).double()).mean(dim=(1, 2, 3))
    torch.testing.assert_close(negative_log_likelihood(bins, truth, 0.3), expected)


def test_active_units_are_those_that_vary_over_the_slices():
    from table1 import active_units  # noqa: PLC0415

    generator = torch.Generator().manual_seed(0)
    deviation = torch.tensor([1.0, 0.2, 0.05, 0.0])  # 0.1 is the limit
    assert active_units(3 + deviation * torch.randn(1000, 4, generator=generator)) == 0.5


@pytest.mark.parametrize("method", ["amortized", "hybrid", "iterative"])
def test_the_latents_that_are_recorded_decode_to_the_result(method, checkpoint, measure):
    from table1 import inferred_latents  # noqa: PLC0415

    model, _ = load_model(checkpoint)
    one = measure("random columns 4x / 0.08")[0]
    settings = InferenceSettings(method, 3, data_consistency="none")
    with inferred_latents(model) as latents:
        result = reconstruct_volume(model, one.kspace, one.mask, settings)
    assert sorted(latents) == list(range(len(model.decoder)))
    truth = torch.from_numpy(one.kspace / result.factors[:, None, None])
    h, coarse = None, truth.new_zeros(3, 0, 0)
    for index in range(3):  # contexts see the data where there are any: here every bin of the coarsest scales
        h, _ = model.descend(index, model.context(index, h, coarse), latents[index])
        band = model.band(index, h)
        s = band.shape[-1]
        coarse = truth[:, 16 - s // 2 : 16 - s // 2 + s, 16 - s // 2 : 16 - s // 2 + s]
        found = torch.from_numpy(result.kspace / result.factors[:, None, None])
        ring = band.abs() > 0
        torch.testing.assert_close(
            band[ring], found[:, 16 - s // 2 :, 16 - s // 2 :][:, :s, :s][ring], rtol=1e-3, atol=1e-3
        )


def test_table_1_scores_what_each_method_inferred(checkpoint, measure):
    from table1 import inferred_latents  # noqa: PLC0415
    from table1 import measure as score_method  # noqa: PLC0415

    model, _ = load_model(checkpoint)
    everything, denoise = measure("everything measured"), measure("denoise 1.0")
    amortized = score_method(model, InferenceSettings("amortized"), everything)
    hybrid = score_method(model, InferenceSettings("hybrid", 25), everything)
    assert hybrid["nll"] < amortized["nll"]  # refined to explain the data
    assert "negative_elbo" not in hybrid
    with inferred_latents(model) as latents:
        reconstruct_volume(model, everything[0].full, None, InferenceSettings("hybrid", 25))
    variances = [e.var(dim=0).flatten() for layers in latents.values() for e in layers]
    expected = float((torch.cat(variances) > 0.01).double().mean())
    alone = score_method(model, InferenceSettings("hybrid", 25), everything[:1])
    assert alone["active_units"] == pytest.approx(expected, abs=1e-3)
    assert 0 < expected < 1
    assert "active_units" not in score_method(model, InferenceSettings("paper", 1), everything)

    truth = []
    for one in everything:
        factors = reconstruct_volume(model, one.full, None, InferenceSettings("amortized")).factors
        truth.append(torch.from_numpy(one.full / factors[:, None, None]))
    with torch.no_grad():
        seeds = [torch.Generator().manual_seed(0) for _ in truth]
        elbos = [
            posterior_pass(model, t, g).negative_elbo(model.config.sigma)
            for t, g in zip(truth, seeds, strict=True)
        ]
    assert amortized["negative_elbo"] == pytest.approx(float(torch.stack(elbos).mean()), rel=1e-4)

    # The output is the one that the package gives at the task's own data consistency.
    soft = score_method(model, InferenceSettings("hybrid", 3), denoise)
    settings = InferenceSettings("hybrid", 3, data_consistency="soft")
    scores = []
    for one in denoise:
        image = reconstruct_volume(model, one.kspace, one.mask, settings, noise_sigma=one.sigma).image
        scores += [s.nmse for s in one.scored(image)]
    assert soft["nmse"] == pytest.approx(np.mean(scores), rel=1e-3)


class Random(nn.Module):
    """Two linear features of the image's grey values."""

    num_features = 2

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("weights", torch.randn(3 * 16 * 16, 2, generator=generator) / 16)

    def forward(self, images):
        return images.flatten(1) @ self.weights


def test_the_frechet_distance_is_that_of_two_gaussians(rng):
    pytest.importorskip("torchmetrics")
    from fid import frechet_distance  # noqa: PLC0415

    features = Random()
    references = rng.uniform(0.5, 1, (20, 16, 16))
    references[:, 0, 0] = 1  # the white of each window
    images = np.clip(references + rng.normal(0, 0.1, references.shape), 0, 1)
    assert frechet_distance(features, references, references) == pytest.approx(0, abs=1e-4)

    def moments(values):
        found = features(torch.from_numpy(values.astype(np.float32))[:, None].expand(-1, 3, -1, -1)).numpy()
        return found.mean(axis=0), np.cov(found.T)

    (mean, covariance), (other_mean, other_covariance) = moments(references), moments(images)
    roots = np.sqrt(np.linalg.eigvals(covariance @ other_covariance).astype(complex)).real
    expected = ((mean - other_mean) ** 2).sum() + np.trace(covariance + other_covariance) - 2 * roots.sum()
    assert frechet_distance(features, references, images) == pytest.approx(expected, rel=1e-3)


def test_weights_of_another_network_are_refused_in_one_line(tmp_path):
    from fid import InceptionFeatures  # noqa: PLC0415

    path = tmp_path / "other.pt"
    torch.save({"weight": torch.zeros(2)}, path)
    with pytest.raises(
        Exception, match=r"other.pt: expected a state dict of torchvision's inception_v3"
    ) as caught:
        InceptionFeatures.load(path)
    assert "\n" not in caught.value.message


def test_the_unet_trains_on_a_folder_and_comes_back_from_its_file(tmp_path, folder, checkpoint, measure):
    from unet import UnetBaseline, main  # noqa: PLC0415

    data = tmp_path / "data"
    data.mkdir()
    (data / "singlecoil_train").symlink_to(folder)
    weights = tmp_path / "unet.safetensors"
    options = ["--minutes", "0.02", "--batch", "2", "--checkpoint", str(checkpoint)]
    done = CliRunner().invoke(main, [str(data), "-o", str(weights), *options])
    assert done.exit_code == 0, done.output
    network = UnetBaseline.load(weights)
    one = measure("random columns 4x / 0.08")[0]
    kspace, mask = torch.from_numpy(one.kspace), torch.from_numpy(one.mask)
    image = network.reconstruct(kspace, mask)
    assert image.shape == kspace.shape
    # Of the canonical form: the units of the scan cancel.
    torch.testing.assert_close(network.reconstruct(kspace * 1e-6, mask), image * 1e-6, rtol=1e-4, atol=1e-10)
