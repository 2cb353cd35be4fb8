import os
from types import SimpleNamespace

import pytest
import torch

from mri_iahvae.errors import UsageError
from mri_iahvae.model.blocks import Bottleneck
from mri_iahvae.pipeline import devices
from mri_iahvae.pipeline.devices import compile_networks, compute_deterministically, find_device
from mri_iahvae.results.provenance import provenance


def test_auto_and_cpu():
    assert find_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert find_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["", "tpu", "gpu", "meta", "cuda:", "cuda:x", "cuda:-1", "0"])
def test_other_names_are_refused_with_the_choices(name):
    with pytest.raises(UsageError, match=f"--device {name}: expected auto, cpu, cuda or cuda:N"):
        find_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a CUDA device")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7"])
def test_no_silent_fallback_to_the_cpu(name):
    with pytest.raises(UsageError, match="no CUDA device here"):
        find_device(name)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_devices_by_number():
    count = torch.cuda.device_count()
    assert find_device(f"cuda:{count - 1}").index == count - 1
    with pytest.raises(UsageError, match=f"below {count}"):
        find_device(f"cuda:{count}")


@pytest.fixture
def as_before(monkeypatch):
    """Leaves the process as it was."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    yield
    torch.use_deterministic_algorithms(mode=False)


def test_deterministic_algorithms_on_a_cpu_need_nothing(as_before):
    compute_deterministically(torch.device("cpu"))
    assert torch.are_deterministic_algorithms_enabled()
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    assert provenance(torch.device("cpu"))["deterministic"]


def test_deterministic_algorithms_on_cuda_need_workspaces(as_before, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":0:0")
    with pytest.raises(UsageError, match=r"--deterministic: .*found :0:0"):
        compute_deterministically(torch.device("cuda", 0))
    assert not torch.are_deterministic_algorithms_enabled()
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    compute_deterministically(torch.device("cuda", 0))
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert torch.are_deterministic_algorithms_enabled()


class Networks(torch.nn.Sequential):
    """Two blocks, said to be on a device."""

    def __init__(self, device):
        super().__init__(Bottleneck(4, 2, 4), Bottleneck(4, 2, 4))
        self.gains = SimpleNamespace(device=torch.device(device))


def test_networks_are_compiled_on_cuda_with_triton_only(monkeypatch):
    with pytest.raises(UsageError, match="--compile: expected a CUDA device, found cpu"):
        compile_networks(Networks("cpu"))
    compiled = []
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda block, **options: compiled.append((block, options))
    )
    monkeypatch.setattr(devices, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match="expected Triton"):
        compile_networks(Networks("cuda"))
    monkeypatch.setattr(devices, "find_spec", lambda _: object())
    networks = Networks("cuda")
    compile_networks(networks)
    assert compiled == [(block, {"mode": "reduce-overhead"}) for block in networks]
