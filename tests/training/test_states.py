import json

import pytest
import torch
from safetensors.torch import save_file

from mri_iahvae.errors import CheckpointError
from mri_iahvae.training.states import SafeStates, prune, state_path, states
from tests.training.conftest import same

STATE = {
    "state_dict": {"a.weight": torch.randn(3, 2), "count": torch.tensor(7)},
    "optimizer": [{"state": {0: {"step": torch.tensor(2.0)}, 5: {}}, "betas": (0.9, 0.999), "on": True}],
    "epoch": 0,
    "rate": 1e-3,
    "nothing": None,
    "name": "x",
    "empty": ([], (), {}),
    "half": torch.ones(2, dtype=torch.bfloat16),
    "view": torch.arange(12).reshape(3, 4).T[1:],
    # Keys that read alike.
    1: torch.tensor(1),
    "1": torch.tensor(2),
    "a/b": torch.tensor(3),
    "a": {"b": torch.tensor(4)},
}


def test_round_trip(tmp_path):
    path = tmp_path / "new" / "x.state.safetensors"
    SafeStates().save_checkpoint(STATE, path)
    loaded = SafeStates().load_checkpoint(path)
    assert same(loaded, STATE)
    assert all(type(key) is int for key in loaded["optimizer"][0]["state"])
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    content = path.read_bytes()  # the header is JSON, then come raw numbers: nothing is pickled
    json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])


def test_shared_storage_is_stored_twice(tmp_path):
    weight = torch.ones(3)
    SafeStates().save_checkpoint({"a": weight, "b": weight}, tmp_path / "x")
    loaded = SafeStates().load_checkpoint(tmp_path / "x")
    loaded["a"].zero_()
    assert loaded["b"].sum() == 3


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", 1j])
def test_what_is_not_plain_is_refused(tmp_path, value):
    with pytest.raises(CheckpointError, match=r"outer/inner/0.*found"):
        SafeStates().save_checkpoint({"outer": {"inner": [value]}}, tmp_path / "x")
    assert not list(tmp_path.iterdir())


STRUCTURES = [None, "", "{", '{"tensor": "missing"}', '{"a": 1, "b": 2}', '{"dict": 3}', '{"other": [1]}']


@pytest.mark.parametrize(
    "case", ["missing", 0, 4, 100, -1, *STRUCTURES, '{"list": [' * 10**5], ids=lambda c: str(c)[:9]
)
def test_damaged_and_foreign_files_are_refused(tmp_path, case):
    """A state that is cut off after so many bytes, or a safetensors file with another header."""
    path = tmp_path / "x"
    if isinstance(case, int):
        SafeStates().save_checkpoint(STATE, path)
        path.write_bytes(path.read_bytes()[:case])
    elif case != "missing":
        save_file({"t": torch.zeros(1)}, path, metadata=None if case is None else {"structure": case})
    with pytest.raises(CheckpointError, match="expected a training state") as caught:
        SafeStates().load_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_states_are_listed_in_order_and_two_are_kept(tmp_path):
    assert states(tmp_path) == []
    positions = [(0, 9), (0, 100), (10, 3), (2, 99)]
    for stage, step in positions:
        SafeStates().save_checkpoint({"at": [stage, step]}, state_path(tmp_path, stage, step))
    for stranger in ("stagex-step1", "stage1-step", "stage1-step2-copy"):
        (tmp_path / "states" / f"{stranger}.state.safetensors").touch()
    assert [(stage, step) for stage, step, _ in states(tmp_path)] == sorted(positions)
    for stage, step, path in states(tmp_path):
        assert SafeStates().load_checkpoint(path) == {"at": [stage, step]}
    prune(tmp_path)
    assert [(stage, step) for stage, step, _ in states(tmp_path)] == [(2, 99), (10, 3)]
