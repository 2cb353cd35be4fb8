"""Which precision the convolutions have."""

import pytest
import torch

from mri_iahvae.inference import precision
from mri_iahvae.inference.precision import convolutions

CPU = torch.device("cpu")
ASK = precision.has_bfloat16  # the other tests have it answered with no


@pytest.mark.parametrize("native", [True, False])
def test_auto_is_what_the_processor_has(monkeypatch, native):
    monkeypatch.setattr(precision, "has_bfloat16", lambda _: native)
    convolution, image = torch.nn.Conv2d(1, 1, 3), torch.zeros(1, 1, 4, 4)
    expected = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    expected["auto"] = torch.bfloat16 if native else torch.float32
    for name, dtype in expected.items():
        with convolutions(CPU, name):
            assert convolution(image).dtype == dtype


@pytest.mark.parametrize("feature", ["avx512_bf16", "amx_bf16", "avx2"])
def test_the_processor_is_asked(monkeypatch, feature):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {feature: True}, raising=False)
    assert ASK(CPU) == feature.endswith("bf16")
