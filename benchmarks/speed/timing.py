"""Time of inference with untrained models, which time does not depend on."""

import time

import torch

from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.model.config import ModelConfig
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.pipeline.volume import reconstruct_volume


def untrained(config: ModelConfig, device: str = "cpu") -> IAHVAE:
    """A model with seeded weights of which none is zero, so that gradients flow everywhere."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = IAHVAE(config)
        for parameter in model.parameters():
            if not parameter.any():
                parameter.data.normal_(std=0.02)
    return model.to(device).eval().requires_grad_(requires_grad=False)


def seconds(model: IAHVAE, settings: InferenceSettings, batch: int = 1) -> float:
    """Of a batch, everything measured; the result comes back to the CPU, so that the device has finished."""
    noise = torch.Generator().manual_seed(0)
    kspace = torch.randn(batch, model.size, model.size, dtype=torch.complex64, generator=noise).numpy()
    start = time.perf_counter()
    reconstruct_volume(model, kspace, None, settings, batch=batch)
    return time.perf_counter() - start
