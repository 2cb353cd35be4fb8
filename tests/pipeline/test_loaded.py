from dataclasses import replace

import pytest
import torch

from mri_iahvae.errors import UsageError
from mri_iahvae.model.checkpoint import save_model
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.model.presets import preset
from mri_iahvae.pipeline.loaded import LoadedModel


def test_scales_that_a_mask_couples_are_refused(tmp_path, checkpoint):
    cpu = torch.device("cpu")
    assert LoadedModel.load(checkpoint, cpu).guide is not None
    save_model(IAHVAE(replace(preset("tiny"), decomposition="block-dct")), tmp_path, {})
    with pytest.raises(
        UsageError, match=r"expected a model whose scales are bands of k-space, found block-dct"
    ):
        LoadedModel.load(tmp_path, cpu)
