import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from mri_iahvae.errors import CheckpointError, UsageError
from mri_iahvae.model import checkpoint_config as module
from mri_iahvae.model.checkpoint import load_domain, load_model, save_model, store_domain
from mri_iahvae.model.checkpoint_config import FORMAT
from mri_iahvae.model.domain import Domain
from mri_iahvae.model.iahvae import IAHVAE


@pytest.fixture
def folder(model, tmp_path):
    save_model(model, tmp_path / "runs" / "m", {"steps": 3})
    return tmp_path / "runs" / "m"


def refused(folder, *patterns):
    with pytest.raises(CheckpointError) as caught:
        load_model(folder)
    message = str(caught.value)
    assert "\n" not in message
    for pattern in patterns:
        assert re.search(pattern, message), message


def edit(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def store_weights(folder, content):
    """Replace the weights and their hash."""
    (folder / "model.safetensors").write_bytes(content)
    edit(folder, sha256=hashlib.sha256(content).hexdigest())


def test_round_trip(model, folder):
    loaded, digest = load_model(folder)
    assert digest == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert loaded.config == model.config
    assert not loaded.training
    weights, expected = loaded.state_dict(), model.state_dict()
    assert set(weights) == set(expected)
    assert all(torch.equal(weights[key], expected[key]) for key in expected)
    assert torch.equal(loaded.gains, model.gains)
    assert torch.equal(loaded.power, model.power)
    assert not any(p.requires_grad for p in loaded.parameters())
    config = json.loads((folder / "config.json").read_text())
    assert config["training"] == {"steps": 3}
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_half_precision_halves_the_file_and_rounds(model, folder, tmp_path):
    save_model(model, tmp_path / "half", {}, half=True)
    size, full = ((f / "model.safetensors").stat().st_size for f in (tmp_path / "half", folder))
    assert size < 0.75 * full  # the header of a tiny model counts
    loaded, _ = load_model(tmp_path / "half")
    expected = model.state_dict()
    for key, value in loaded.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, expected[key], atol=1e-6, rtol=2**-11)
        assert torch.equal(value, expected[key].half().float())


def test_saving_again_replaces(model, folder):
    other = IAHVAE(model.config)
    save_model(other, folder, {"steps": 4})
    loaded, _ = load_model(folder)
    assert torch.equal(loaded.stage(0).bias, other.stage(0).bias)
    assert not torch.equal(loaded.stage(0).bias, model.stage(0).bias)


def test_names_of_shipped_models(folder, monkeypatch):
    monkeypatch.setattr(module, "_pretrained", lambda: folder.parent)
    loaded, digest = load_model("m")
    assert digest == load_model(folder)[1]
    assert loaded.size == load_model(folder)[0].size
    for missing in ("n", "../runs/m", "no/such/folder"):
        with pytest.raises(UsageError, match=rf"--checkpoint {missing}.*\(m\)"):
            load_model(missing)
    monkeypatch.setattr(module, "_pretrained", lambda: folder / "nothing")
    with pytest.raises(UsageError, match="none here"):
        load_model("m")


def test_the_folder_of_a_run_is_not_its_model(model, tmp_path):
    run = tmp_path / "run"
    save_model(model, run / "model", {})
    (run / "run.json").write_text("{}")
    refused(run, re.escape(str(run)), re.escape(f"that is the folder of a run, give {run / 'model'}"))


@pytest.mark.parametrize(
    ("training", "warning"),
    [
        ({"steps_done": 220, "steps_planned": 2000}, "is unfinished: step 220 of 2000"),
        ({"steps_done": 2000, "steps_planned": 2000}, ""),
        ({"finished": True}, ""),
        ({"steps_done": "220", "steps_planned": None}, ""),
        ([], ""),
    ],
)
def test_an_unfinished_training_is_told(model, tmp_path, training, warning):
    save_model(model, tmp_path, training)
    assert module.unfinished(tmp_path).endswith(warning)
    assert bool(module.unfinished(tmp_path)) == bool(warning)


def test_weights_with_another_hash(folder):
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    refused(folder, re.escape(str(path)), "SHA-256")


@pytest.mark.parametrize("keep", [0, 5, 200, -1])
def test_truncated_weights(folder, keep):
    content = (folder / "model.safetensors").read_bytes()[:keep]
    (folder / "model.safetensors").write_bytes(content)
    refused(folder, "SHA-256")
    store_weights(folder, content)
    refused(folder, re.escape(str(folder / "model.safetensors")), "safetensors")


def test_missing_files(folder):
    (folder / "model.safetensors").unlink()
    refused(folder, re.escape(str(folder / "model.safetensors")), "cannot be read")
    (folder / "config.json").unlink()
    refused(folder, re.escape(str(folder)), r"found no config\.json; give one with both files")


@pytest.mark.parametrize("text", ["", "{", "\x00\x01", "7", "[]", "null"])
def test_config_that_is_not_a_json_object(folder, text):
    (folder / "config.json").write_text(text)
    refused(folder, re.escape(str(folder / "config.json")))


@pytest.mark.parametrize("version", [FORMAT + 1, 0, None, "new"])
def test_other_formats(folder, version):
    edit(folder, format=version)
    refused(folder, re.escape(str(folder / "config.json")), f"format {FORMAT}")


def test_unknown_and_missing_keys(folder):
    edit(folder, extra=1)
    refused(folder, "keys")
    config = json.loads((folder / "config.json").read_text())
    for key in ("extra", "training"):
        del config[key]
    (folder / "config.json").write_text(json.dumps(config))
    refused(folder, "keys")


def test_the_domain_is_optional_and_can_be_added_to_the_same_weights(model, folder, tmp_path):
    domain = Domain("head", 9, (-1.0, -2.0, -3.0), (1.0, 1.0, 1.0), (2.0, 2.0, 2.0))
    digest = load_model(folder)[1]
    assert load_domain(folder) is None
    store_domain(folder, domain)
    assert load_domain(folder) == domain
    assert load_model(folder)[1] == digest
    assert json.loads((folder / "config.json").read_text())["training"] == {"steps": 3}
    store_domain(folder, replace(domain, description="knee"))
    assert load_domain(folder) == replace(domain, description="knee")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    save_model(model, tmp_path / "whole", {}, domain=domain)
    assert load_domain(tmp_path / "whole") == domain


@pytest.mark.parametrize("value", [None, 3, {}, {"mean": 1}])
def test_malformed_domain(folder, value):
    edit(folder, domain=value)
    load_model(folder)
    with pytest.raises(CheckpointError, match=f"{re.escape(str(folder / 'config.json'))}: the domain is mal"):
        load_domain(folder)


@pytest.mark.parametrize("value", [None, 3, [], {}, {"scales": "wide"}, {"scales": [], "heads": 1}])
def test_malformed_model(folder, value):
    edit(folder, model=value)
    refused(folder, re.escape(str(folder / "config.json")), "model configuration")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(model, folder, value):
    weights = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    weights["decoder.0.bias"][0] = value
    store_weights(folder, save(weights))
    refused(folder, re.escape(str(folder / "model.safetensors")), "do not fit")


def test_no_memory_is_taken_for_a_model_that_the_weights_cannot_fill(folder):
    config = json.loads((folder / "config.json").read_text())
    wide = {"layers": 1000, "channels": 10**6, "inner": 10**6, "patch": 1}
    edit(folder, model={**config["model"], "scales": [wide] * len(config["model"]["scales"])})
    refused(folder, "do not fit")


@pytest.mark.parametrize("text", ["[" * 10**5, '{"a":' * 10**5, " " * (2**24 + 1)])
def test_configurations_that_no_parser_follows(folder, text):
    (folder / "config.json").write_text(text)
    refused(folder, re.escape(str(folder / "config.json")), "cannot be read as JSON")


def test_tensors_that_do_not_fit(model, folder):
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    name = "decoder.0.bias"
    for changed in (
        {key: value for key, value in weights.items() if key != name},
        {**weights, "decoder.0.other": torch.zeros(1)},
        {**weights, name: torch.zeros(3, 1, 1)},
        {},
    ):
        store_weights(folder, save(changed))
        refused(folder, re.escape(str(folder / "model.safetensors")), "do not fit")
    store_weights(folder, save(weights))
    load_model(folder)


@pytest.mark.parametrize("first", [True, False], ids=["first", "again"])
def test_a_save_that_is_cut_short_leaves_the_old_checkpoint_or_the_new(model, tmp_path, monkeypatch, first):
    """Killed at each renaming in turn: what stands there loads, and the next save sets all right."""
    content, other = save_content(model), IAHVAE(replace(model.config, sigma=0.5))
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
        if (folder / "config.json").exists():
            loaded, digest = load_model(folder)
            seen.append(digest == content)
            assert loaded.config == (model if seen[-1] else other).config
        else:
            seen.append(None)
        save_model(other, folder, {})
        assert load_model(folder)[0].config == other.config
        assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert seen == ([None, None, True] if first else [False, False, True])


def save_content(model):
    """SHA-256 of a model's weights file."""
    return hashlib.sha256(save(dict(model.state_dict()))).hexdigest()


def test_weights_that_wait_are_no_way_around_the_hash(model, folder):
    (folder / "model.safetensors").rename(folder / "model.next.safetensors")
    assert load_model(folder)[0].config == model.config
    (folder / "model.next.safetensors").write_bytes(save({"a": torch.zeros(1)}))
    refused(folder, "SHA-256 is not the one")
