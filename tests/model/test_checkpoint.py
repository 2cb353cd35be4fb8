import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from mri_iahvae.errors import CheckpointError, UsageError
from mri_iahvae.model import checkpoint_config as module
from mri_iahvae.model.checkpoint import load_domain, load_model, save_model
from mri_iahvae.model.checkpoint_config import FORMAT
from mri_iahvae.model.domain import Domain
from mri_iahvae.model.iahvae import IAHVAE
from tests import refusals

FILES = ["config.json", "model.safetensors"]


@pytest.fixture
def model(super_resolving):
    return super_resolving


@pytest.fixture
def folder(model, tmp_path):
    save_model(model, tmp_path / "runs" / "m", {"steps": 3})
    return tmp_path / "runs" / "m"


@pytest.fixture
def weights(folder):
    return load((folder / "model.safetensors").read_bytes())


def refused(folder, *patterns):
    refusals.refused(lambda: load_model(folder), *patterns, error=CheckpointError)


def read(folder):
    return json.loads((folder / "config.json").read_text())


def edit(folder, **changes):
    (folder / "config.json").write_text(json.dumps({**read(folder), **changes}))


def store_weights(folder, content):
    """Replace the weights and their hash."""
    (folder / "model.safetensors").write_bytes(content)
    edit(folder, sha256=hashlib.sha256(content).hexdigest())


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_round_trip(model, folder, weights):
    loaded, digest = load_model(folder)
    assert digest == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert loaded.config == model.config
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)
        assert torch.equal(weights[key], value)
    assert torch.equal(loaded.power, model.power)
    assert read(folder)["training"] == {"steps": 3}
    assert names(folder) == FILES


def test_half_precision_halves_the_file_and_rounds(model, folder, tmp_path):
    domain = Domain("head", 9, (-1.0, -2.0, -3.0), (1.0, 1.0, 1.0), (2.0, 2.0, 2.0))
    save_model(model, tmp_path / "half", {}, domain=domain, half=True)
    assert (load_domain(folder), load_domain(tmp_path / "half")) == (None, domain)  # it is optional
    size, full = ((f / "model.safetensors").stat().st_size for f in (tmp_path / "half", folder))
    assert size < 0.75 * full  # the header of a tiny model counts
    expected = model.state_dict()
    for key, value in load_model(tmp_path / "half")[0].state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, expected[key].half().float())


def test_weights_of_earlier_versions_are_read(model, folder, weights):
    renamed = {key.replace(".super_resolution.", ".detail."): value for key, value in weights.items()}
    assert set(renamed) != set(weights)
    store_weights(folder, save(renamed))
    assert set(load_model(folder)[0].state_dict()) == set(model.state_dict())


def test_names_of_shipped_models(folder, monkeypatch):
    monkeypatch.setattr(module, "_pretrained", lambda: folder.parent)
    assert load_model("m")[1] == load_model(folder)[1]
    for missing in ("n", "../runs/m"):
        with pytest.raises(UsageError, match=rf"--checkpoint {missing}.*\(m\)"):
            load_model(missing)


@pytest.mark.parametrize(
    ("training", "warning"),
    [({"steps_done": 220, "steps_planned": 2000}, "the training of the weights is unfinished: step 220 of 2000"),
     ({"steps_done": 2000, "steps_planned": 2000}, ""), ({"finished": True}, ""), ([], ""),
     ({"steps_done": "220", "steps_planned": None}, "")],
)  # fmt: skip
def test_an_unfinished_training_is_warned_of(folder, training, warning):
    edit(folder, training=training)
    assert module.unfinished(folder) == warning


def test_truncated_changed_and_missing_weights(folder):
    path = folder / "model.safetensors"
    content = path.read_bytes()
    for other in (b"", content[:5], content[:200], content[:-1], content[:-1] + bytes([content[-1] ^ 1])):
        path.write_bytes(other)
        refused(folder, re.escape(str(path)), "SHA-256")
    for other in (b"", content[:5], content[:200], content[:-1]):
        store_weights(folder, other)
        refused(folder, re.escape(str(path)), "safetensors")
    path.unlink()
    refused(folder, re.escape(str(path)), "cannot be read")
    (folder / "config.json").unlink()
    refused(folder, re.escape(str(folder)), r"found no config\.json; give one with both files")
    (folder / "run.json").write_text("{}")
    refused(folder, re.escape(f"that is the folder of a run, give {folder / 'model'}"))


TEXTS = ["", "{", "7", "[]", "[" * 10**5, " " * (2**24 + 1)]
CHANGES = {
    f"format {FORMAT}": [{"format": version} for version in (FORMAT + 1, None)],
    "keys": [{"extra": 1}],
    "model configuration": [{"model": value} for value in (None, [], {"scales": "wide"})],
}


def test_malformed_configurations(folder):
    path = folder / "config.json"
    original = path.read_text()
    for text in TEXTS:
        path.write_text(text)
        refused(folder, re.escape(str(path)))
    for pattern, changes in CHANGES.items():
        for change in changes:
            path.write_text(original)
            edit(folder, **change)
            refused(folder, re.escape(str(path)), pattern)
    path.write_text(original.replace('"training"', '"trained"'))
    refused(folder, re.escape(str(path)), "keys")
    path.write_text(original)
    for value in (None, 3, {}, {"mean": 1}):
        edit(folder, domain=value)
        load_model(folder)
        with pytest.raises(CheckpointError, match=f"{re.escape(str(path))}: the domain is malformed"):
            load_domain(folder)


def test_tensors_that_do_not_fit(folder, weights):
    name = "decoder.0.bias"
    for changed in (
        {key: value for key, value in weights.items() if key != name},
        {**weights, "decoder.0.other": torch.zeros(1)},
        {**weights, name: torch.zeros(3, 1, 1)},
        {**weights, name: torch.full_like(weights[name], torch.nan)},
        {**weights, name: torch.full_like(weights[name], torch.inf)},
        {},
    ):
        store_weights(folder, save(changed))
        refused(folder, re.escape(str(folder / "model.safetensors")), "do not fit")
    store_weights(folder, save(weights))
    load_model(folder)


def test_no_memory_is_taken_for_a_model_that_the_weights_cannot_fill(folder):
    model = read(folder)["model"]
    wide = {"layers": 1000, "channels": 10**6, "inner": 10**6, "patch": 1}
    edit(folder, model={**model, "scales": [wide] * len(model["scales"])})
    refused(folder, "do not fit")


@pytest.mark.parametrize("first", [True, False], ids=["first", "again"])
def test_a_save_that_is_cut_short_leaves_the_old_checkpoint_or_the_new(model, tmp_path, monkeypatch, first):
    """Killed at each renaming in turn: what stands there loads, and the next save sets all right."""
    other = IAHVAE(replace(model.config, sigma=0.5))
    rename, seen = Path.replace, []
    for fatal in range(3):
        folder = tmp_path / str(fatal)
        if not first:
            save_model(other, folder, {})
        calls = iter(range(3))

        def killed(path, target, fatal=fatal, calls=calls):
            if next(calls) == fatal:
                raise KeyboardInterrupt
            return rename(path, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", killed)
            with pytest.raises(KeyboardInterrupt):
                save_model(model, folder, {})
        seen.append(load_model(folder)[0].sigma if (folder / "config.json").exists() else None)
        save_model(other, folder, {})
        assert load_model(folder)[0].sigma == 0.5
        assert names(folder) == FILES
    assert seen == ([None, None, model.sigma] if first else [0.5, 0.5, model.sigma])


def test_weights_that_wait_are_no_way_around_the_hash(model, folder):
    (folder / "model.safetensors").rename(folder / "model.next.safetensors")
    assert load_model(folder)[0].config == model.config
    (folder / "model.next.safetensors").write_bytes(save({"a": torch.zeros(1)}))
    refused(folder, "SHA-256 is not the one")
