"""The U-Net baseline: fastMRI's own network, trained on the same slices for one kind of mask.

    python -m benchmarks.quality.unet data/slices --minutes 88 -o benchmarks/quality/unet.safetensors

Complex images, real and imaginary part as channels, in canonical form; it sees the zero-filled image of random columns
4x / 0.08 (a new mask for every slice) and learns the whole one by its mean squared error, which is what NMSE scores.
Slices, augmentation, optimizer and weight average are those of `mri-iahvae train`. Applied to any mask as it is.
"""

import copy
import json
import math
import time
from pathlib import Path
from typing import Self

import click
import torch
from fastmri.models import Unet
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmarks.shared import options
from benchmarks.shared.training import follow, random_columns
from mri_iahvae.kspace.canonical import canonical_factor, per_bin_power
from mri_iahvae.kspace.fft import ifft2c, to_channels, to_complex
from mri_iahvae.model.checkpoint import load_model
from mri_iahvae.pipeline.training_data import FolderSlices
from mri_iahvae.scans.reader import open_scan
from mri_iahvae.training.augment import augment
from mri_iahvae.training.shard import Shard
from mri_iahvae.training.slices import CachedSlices, StepBatches
from mri_iahvae.training.statistics import canonical_batch

CHANNELS = 20
"""Of the first level: 3.0 million parameters, where `pretrained/small` has 5.0."""


RATE = 1e-3
"""Peak of the learning rate."""


class UnetBaseline(nn.Module):
    """`fastmri.models.Unet` on complex images in canonical form.

    Args:
        power: float (N, N), mean training power per bin, for the canonical form.
        channels: of the first level.
    """

    power: Tensor

    def __init__(self, power: Tensor, channels: int = CHANNELS) -> None:
        super().__init__()
        self.net = Unet(in_chans=2, out_chans=2, chans=channels, num_pool_layers=4)
        self.register_buffer("power", power)

    def forward(self, image: Tensor) -> Tensor:
        """Complex (B, N, N) to complex (B, N, N); it learns what the zero-filled image lacks."""
        return image + to_complex(self.net(to_channels(image)))

    @torch.no_grad()
    def reconstruct(self, kspace: Tensor, mask: Tensor) -> Tensor:
        """Images of undersampled slices.

        Args:
            kspace: complex64 (B, N, N), any units, zero where not measured.
            mask: bool, broadcastable to (B, N, N), true where measured.

        Returns:
            complex64 (B, N, N), in the units of `kspace`.
        """
        factor = canonical_factor(kspace, mask, self.power)[:, None, None]
        return self(ifft2c(kspace / factor)) * factor

    @classmethod
    def load(cls, path: Path) -> Self:
        """The network that `main` saved."""
        with safe_open(path, "pt") as file:
            weights = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118 - not a dict
            settings = json.loads(file.metadata()["settings"])
        network = cls(weights["power"], settings["channels"])
        network.load_state_dict(weights)
        return network.eval()

    def save(self, path: Path, settings: dict[str, object]) -> None:
        """Half precision; the power keeps single."""
        weights = {key: value.half() if key != "power" else value for key, value in self.state_dict().items()}
        save_file(weights, path, {"settings": json.dumps({"channels": CHANNELS, **settings})})


@click.command()
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("-o", "output", type=click.Path(path_type=Path), required=True)
@click.option("--minutes", type=float, required=True, help="Wall time to train for.")
@click.option("--batch", default=8, show_default=True)
@options.checkpoint
def main(data: Path, output: Path, minutes: float, batch: int, checkpoint: str) -> None:
    """Train on the fully sampled files in DATA/singlecoil_train, in the canonical form of the checkpoint."""
    torch.manual_seed(0)
    model, _ = load_model(checkpoint)
    power = per_bin_power(torch.tensor(model.config.core_power), model.gains.cpu())
    network = UnetBaseline(power)
    average = copy.deepcopy(network).requires_grad_(requires_grad=False)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.01)
    start, step, seen = time.monotonic(), 0, 0
    scans = [open_scan(path) for path in sorted((data / "singlecoil_train").glob("*.h5"))]
    for kspace, seed in StepBatches(CachedSlices(FolderSlices(scans, model.size)), Shard(batch), 0):
        progress = (time.monotonic() - start) / (60 * minutes)
        if progress >= 1:
            break
        factor = min(1.0, (step + 1) / 100) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress)))
        for group in optimizer.param_groups:
            group["lr"] = RATE * factor
        target, measured, mask = _batch(kspace, seed, model.size)
        scale = canonical_factor(measured, mask, power)[:, None, None]  # from the measurement alone
        found = network(ifft2c(measured / scale))
        loss = torch.view_as_real(found - ifft2c(target / scale)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        step, seen = step + 1, seen + batch
        follow(average, network, step)
        if step % 50 == 0:
            zero_filled = torch.view_as_real(ifft2c((measured - target) / scale)).square().mean()
            click.echo(f"step {step}, {seen} slices, of zero-filled {float(loss / zero_filled):.3f}")
            average.save(output, {"slices": seen, "minutes": (time.monotonic() - start) / 60})
    average.save(output, {"slices": seen, "minutes": minutes})


def _batch(kspace: Tensor, seed: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Augmented target, what is measured of it, and the masks, (B, N, N) each."""
    noise = torch.Generator().manual_seed(seed)
    target = canonical_batch(augment(kspace, noise), size)
    mask = random_columns(target, seed)
    return target, torch.where(mask, target, 0), mask


if __name__ == "__main__":
    main()
