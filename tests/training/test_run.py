"""Whole runs: growth, what is written, and resuming exactly where a run was stopped."""

import json
import math
import os
import shutil
import signal
from dataclasses import replace

import pytest
import torch

from mri_iahvae.errors import CheckpointError, IahvaeError
from mri_iahvae.model.checkpoint import load_domain, load_model
from mri_iahvae.model.guide_config import GuideConfig
from mri_iahvae.model.guide_file import load_guide
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.model.presets import preset
from mri_iahvae.training.calibration import measure_domain
from mri_iahvae.training.module import StageModule, validation_scores
from mri_iahvae.training.run import run_training
from mri_iahvae.training.settings import Stage, TrainSettings
from mri_iahvae.training.slices import CachedSlices
from mri_iahvae.training.states import SafeStates, states
from mri_iahvae.training.statistics import canonical_batch
from tests.training.conftest import same

CPU = torch.device("cpu")
STAGES = (Stage(16, 20, batch=4, rate=1e-2), Stage(32, 20, batch=4, rate=1e-2))


class Screen:
    """Keeps what it is shown; sends signals at chosen (kind, stage, step) entries."""

    def __init__(self, stop_at, signals):
        self.stop_at, self.signals = stop_at, signals
        self.steps, self.validations, self.pictures, self.titles = [], [], [], []
        self.models, self.weights = {}, []

    def begin(self, text):
        pass

    def step(self, entry, total):
        self.steps.append((entry["stage"], entry["step"], total))
        self._interrupt(entry)

    def validation(self, entry):
        self.validations.append(entry)
        self._interrupt(entry)

    def _interrupt(self, entry):
        if (entry["kind"], entry["stage"], entry["step"]) in self.stop_at:
            for number in self.signals:
                os.kill(os.getpid(), number)

    def draw(self, model, path, title, kspace):
        assert kspace.shape[1:] == (model.size, model.size)
        self.pictures.append(path.name)
        self.titles.append(title)
        self.models[model.size] = model.config
        self.weights.append({name: weight.clone() for name, weight in model.state_dict().items()})


@pytest.fixture(scope="module")
def start(tmp_path_factory, make_blobs):
    """Starts a run, or goes on with one: its folder and what the screen showed."""

    def run(
        folder=None, *, resume=False, stop_at=(), signals=(signal.SIGINT,), begin=(None, None), **settings
    ):
        folder = folder or tmp_path_factory.mktemp("run")
        screen = Screen(stop_at, signals)
        finished = run_training(
            preset("tiny"),
            TrainSettings(**{"stages": STAGES, "validate_every": 7, "seed": 3, **settings}),
            make_blobs(12),
            make_blobs(4, first=100),
            folder,
            device=CPU,
            resume=resume,
            display=screen,
            draw=screen.draw,
            record={"data": "blobs"},
            description="blobs of all kinds",
            start=begin[0],
            start_guide=begin[1],
        )
        assert finished == folder / "model"
        return folder, screen

    return run


@pytest.fixture(scope="module")
def finished(start):
    """A run that nothing stopped."""
    return start()


def log(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def newest_state(folder):
    return SafeStates().load_checkpoint(states(folder)[-1][2])


def assert_same_result(folder, other):
    """The model, and all of the last state: weights, averages, optimizer, schedule, sigma, growth; bit for bit."""
    weights = [(f / "model" / "model.safetensors").read_bytes() for f in (folder, other)]
    assert weights[0] == weights[1]
    a, b = newest_state(folder), newest_state(other)
    assert {key.split(".")[0] for key in a["state_dict"]} == {"model", "average", "skipped"}
    assert {"optimizer_states", "lr_schedulers", "global_step", "sigma_start", "model_config"} <= set(a)
    del a["loops"], b["loops"]  # Lightning's: how often a run was restarted; the step is in `global_step`
    assert same(a, b)


def test_files_and_log_of_a_run(finished):
    folder, screen = finished
    assert {path.name for path in folder.iterdir()} == {"states", "model", "log.jsonl"}
    assert [(stage, step) for stage, step, _ in states(folder)] == [(1, 0), (1, 20)]
    assert screen.pictures[0] == "stage0-grid016-step000007.png"
    assert screen.titles[0] == f"stage 0, grid 16x16, step 7 of {STAGES[0].steps}"
    assert screen.steps == [(0, 10, 20), (0, 20, 20), (1, 10, 20), (1, 20, 20)]
    entries = log(folder)
    steps = [e for e in entries if e["kind"] == "step"]
    for entry in steps:
        assert len({"completion", "masked"} & set(entry)) == 1
        assert entry["skipped"] == 0
        left = (20 - entry["step"]) * 4 / entry["slices_per_second"]
        assert entry["seconds_left"] == pytest.approx(left, rel=1e-3)
    # Sigma: 0.6 to 0.1 over 10 steps, the statistics being those of the step before the count; then doubled.
    expected = [0.6 * (1 / 6) ** 0.9, 0.1, 0.2 * 0.5**0.9, 0.1]
    assert [e["sigma"] for e in steps] == pytest.approx(expected, rel=1e-4)
    validations = [e for e in entries if e["kind"] == "validation"]
    assert [(e["stage"], e["grid"], e["step"]) for e in validations] == [
        (stage, grid, step) for stage, grid in ((0, 16), (1, 32)) for step in (7, 14, 20)
    ]
    for entry in validations:
        bands = 5 + entry["stage"]
        assert len(entry["kl"]) == len(entry["error"]) == bands
        assert len(entry["completion"]) == bands - 3
        assert all(math.isfinite(entry[key]) for key in ("elbo_loss", "nmse"))


def test_the_finished_model_is_the_average(finished, make_blobs):
    folder, _ = finished
    model, _ = load_model(folder / "model")
    state = newest_state(folder)["state_dict"]
    for key, value in model.state_dict().items():
        assert torch.equal(value, state[f"average.{key}"])
    config = json.loads((folder / "model" / "config.json").read_text())
    assert config["training"]["finished"]
    assert config["training"]["data"] == "blobs"
    domain = load_domain(folder / "model")
    # Eight draws of each of four slices.
    assert (domain.description, domain.slices) == ("blobs of all kinds", 32)
    assert domain == measure_domain(model, make_blobs(4, first=100), domain.description, CPU, seed=3)
    assert model.config.sigma == 0.1
    assert replace(model.config, gains=(), core_power=()) == preset("tiny")
    assert len(model.config.gains) == 6


def same_scales(before, after, moved):
    """Whether the weights of all scales are those of before to the bit, but for those that moved."""
    return all(
        torch.equal(weight, after[name]) == (int(name.split(".")[1]) not in moved)
        for name, weight in before.items()
    )


def test_stages_hold_scales_and_start_from_other_weights(finished, start):
    """Growth with the new scale alone, then others on the same grid; validation shows the averaged weights."""
    begin, _ = load_model(finished[0] / "model")
    begin = begin.requires_grad_()
    plan = {"batch": 4, "rate": 1e-2}
    stages = (Stage(32, 2, **plan, scales=(32, 32)), Stage(32, 3, **plan, scales=(4, 8)))
    folder, screen = start(begin=(begin, None), stages=stages, validate_every=3)
    weights = [begin.state_dict(), *screen.weights]
    assert same_scales(*weights[:2], moved=[5])
    assert same_scales(*weights[1:], moved=[2, 3])
    assert newest_state(folder)["sigma_start"] == begin.config.sigma  # no growth, no doubling
    assert screen.models[32].gains == begin.config.gains
    _, screen = start(stages=(Stage(16, 2, **plan), stages[0]), validate_every=3)
    assert same_scales(*screen.weights, moved=[])


GUIDED = {
    "stages": (Stage(32, 8, batch=4, rate=5e-2, guide=True), Stage(16, 4, batch=4), Stage(32, 4, batch=4)),
    "guide": GuideConfig(1, (4, 8), 1),
    "validate_every": 4,
}


@pytest.fixture(scope="module")
def guided(start):
    """A run whose first stage trains a guide."""
    return start(**GUIDED)


def test_a_guide_is_trained_first_and_calibrated_last(guided):
    folder, screen = guided
    guide, _ = load_guide(folder / "model")
    assert guide.config == GUIDED["guide"]
    assert not torch.equal(guide.error.calibration, torch.ones(2, 5))
    assert load_model(folder / "model")[0].size == 32
    first, last = (screen.validations[k] for k in (0, 1))
    assert (first["stage"], last["stage"]) == (0, 0)
    assert last["relative_error"] < first["relative_error"] < 1.2
    assert screen.pictures[0].startswith("stage1-")  # of the hierarchy alone


def test_a_run_with_a_guide_resumes_bit_for_bit(guided, start):
    """In the guide's stage, and in one of the hierarchy."""
    folder = guided[0].with_name("again")
    with pytest.raises(KeyboardInterrupt):
        start(folder, stop_at=[("validation", 0, 4), ("validation", 1, 4)], **GUIDED)
    with pytest.raises(KeyboardInterrupt):
        start(folder, resume=True, stop_at=[("validation", 1, 4)], **GUIDED)
    start(folder, resume=True, **GUIDED)
    for name in ("coarse.safetensors", "guide.safetensors", "model.safetensors"):
        assert (folder / "model" / name).read_bytes() == (guided[0] / "model" / name).read_bytes()


def test_what_no_stage_trains_is_kept(guided, start):
    """A guide alone beside a model, and a model beside its guide."""
    begin, guide = load_model(guided[0] / "model")[0], load_guide(guided[0] / "model")[0]
    stage = {"batch": 4, "rate": 1e-2}
    only, _ = start(begin=(begin, guide), **{**GUIDED, "stages": (Stage(32, 4, **stage, guide=True),)})
    kept, found = load_model(only / "model")[0], load_guide(only / "model")[0]
    assert all(torch.equal(a, b) for a, b in zip(kept.parameters(), begin.parameters(), strict=True))
    assert not torch.equal(found.steps[0].embed.weight, guide.steps[0].embed.weight)
    other, _ = start(begin=(begin, guide), stages=(Stage(32, 2, **stage),))
    found = load_guide(other / "model")[0]
    assert all(torch.equal(a, b) for a, b in zip(found.parameters(), guide.parameters(), strict=True))


def test_a_model_in_half_precision_is_measured_as_it_is_stored(start, make_blobs):
    folder, _ = start(stages=(Stage(16, 2, batch=4),), half=True)
    model, _ = load_model(folder / "model")
    assert all(torch.equal(weight, weight.half().float()) for weight in model.parameters())
    held_out = make_blobs(4, first=100)
    domain = load_domain(folder / "model")
    assert domain == measure_domain(model, held_out, domain.description, CPU, seed=3)


def test_an_interrupted_run_resumes_bit_for_bit(start, finished, tmp_path):
    """Also at and after the last step of a stage; a signal in a validation lets the next step end."""
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path, stop_at={("step", 0, 10)}, signals=[signal.SIGTERM])
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert [(stage, step) for stage, step, _ in states(tmp_path)] == [(0, 0), (0, 10)]
    for position, saved in (
        (("step", 0, 20), (0, 20)),
        (("validation", 0, 20), (0, 20)),
        (("validation", 1, 7), (1, 8)),
        (("step", 1, 10), (1, 10)),
    ):
        with pytest.raises(KeyboardInterrupt):
            start(tmp_path, resume=True, stop_at={position})
        assert states(tmp_path)[-1][:2] == saved
    _, screen = start(tmp_path, resume=True)
    assert screen.steps == [(1, 20, 20)]
    assert_same_result(tmp_path, finished[0])
    validated, wanted = (
        {(e["stage"], e["step"]): e["elbo_loss"] for e in log(folder) if e["kind"] == "validation"}
        for folder in (tmp_path, finished[0])
    )
    assert validated == wanted


def test_a_second_interrupt_ends_at_once(start, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path, stop_at={("step", 0, 10)}, signals=[signal.SIGINT] * 2)
    assert [(stage, step) for stage, step, _ in states(tmp_path)] == [(0, 0)]


def test_the_log_goes_on_from_the_state(start, finished, tmp_path):
    """Lines later than the state, and the half of one that a killed run leaves, are written again."""
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path, stop_at={("step", 0, 10)})
    later = [{"kind": "step", "stage": 0, "step": 20}, {"kind": "validation", "stage": 0, "step": 14}]
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write("".join(json.dumps(entry) + "\n" for entry in later) + '{"kind": "st')
    start(tmp_path, resume=True)
    again, once = (
        [(e["kind"], e["stage"], e["step"]) for e in log(folder)] for folder in (tmp_path, finished[0])
    )
    assert again == once
    assert not [entry for entry in log(tmp_path) if "time" not in entry]


def test_losses_that_stay_odd_end_the_run_with_the_last_good_weights(start, tmp_path, monkeypatch):
    """From step 5 on every loss is odd: 20 of them are skipped, the run ends, and the averages are those of step 5."""
    settings = {"stages": (Stage(16, 40, batch=4),), "validate_every": 40}
    training_step, good = StageModule.training_step, {}

    def odd(module, batch, index):
        loss = training_step(module, batch, index)
        if module.global_step < 5:
            return loss
        if module.global_step == 5:
            good.setdefault("weights", {k: v.clone() for k, v in module.model.state_dict().items()})
        module.statistics["loss"] = loss.detach() * math.nan
        return loss * math.nan

    with monkeypatch.context() as patch:
        patch.setattr(StageModule, "training_step", odd)
        with pytest.raises(IahvaeError, match=r"20 steps in a row up to step 25 of grid 16.*lower --rate"):
            start(tmp_path, **settings)
    assert [(entry["skipped"], entry["loss"]) for entry in log(tmp_path)] == [(5, None), (15, None)]
    assert states(tmp_path)[-1][:2] == (0, 25)
    state = newest_state(tmp_path)
    for key, weight in good["weights"].items():
        assert torch.equal(state["state_dict"][f"model.{key}"], weight)
    _, screen = start(tmp_path, resume=True, **settings)  # the oddity has gone
    assert int(newest_state(tmp_path)["state_dict"]["skipped"]) == 20
    assert newest_state(tmp_path)["skipped_in_a_row"] == 0
    assert screen.steps[-1] == (0, 40, 40)


def test_a_damaged_newest_state_leaves_the_one_before(start, finished, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        start(tmp_path, stop_at={("step", 0, 10)})
    newest = states(tmp_path)[-1][2]
    newest.write_bytes(newest.read_bytes()[:1000])
    start(tmp_path, resume=True)
    assert_same_result(tmp_path, finished[0])
    for _, _, path in states(tmp_path):
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="training state"):
        start(tmp_path, resume=True)


def test_a_run_killed_before_its_model_is_finished_is_validated_again(start, finished, tmp_path):
    """The state of the last step is older than its validation."""
    config = tmp_path / "model" / "config.json"
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    whole = json.loads(config.read_text())
    assert whole["training"]["validation"]["nmse"] > 0
    training = {**whole["training"], "finished": False, "validation": {}}
    config.write_text(json.dumps({**whole, "training": training}))
    _, screen = start(tmp_path, resume=True)
    assert screen.steps == []
    assert json.loads(config.read_text()) == whole


def test_training_learns(start, make_blobs):
    """60 steps on smooth slices: the ELBO rises on others, well beyond that of the start and of zero-filling."""
    kspace = canonical_batch(CachedSlices(make_blobs(4, first=100)).stack([0, 1, 2, 3]), 16)
    folder, screen = start(stages=(Stage(16, 60, batch=8, rate=3e-2),), validate_every=20)
    first, middle, last = (entry["elbo_loss"] for entry in screen.validations)
    assert first > max(middle, last)
    model, _ = load_model(folder / "model")
    torch.manual_seed(0)
    fresh = IAHVAE(model.config).requires_grad_(requires_grad=False)
    scores = [validation_scores(m, kspace, 0.1, torch.Generator().manual_seed(0)) for m in (fresh, model)]
    assert scores[1]["elbo_loss"].mean() < 0.7 * scores[0]["elbo_loss"].mean()
    assert scores[1]["nmse"].mean() < 0.7 < scores[0]["nmse"].mean()
