"""How much of the error that the guide expects with one coil is left with several, against the noise.

    python -m benchmarks.beyond.coil_fraction data/tuning --json benchmarks/beyond/coil_fraction.json

The masks, coils and noise levels of `benchmarks.beyond.coils`, on subjects of which no number is reported. Of each:
energy of the image's error, less that of the noise that data consistency lets through, over the energy of draws of the
expected error. A line through the logarithms of fraction and noise variance gives the two numbers in
`mri_iahvae.model.coil_estimate`: the exponent, and the noise at which the fraction is one.
"""

from pathlib import Path

import click
import numpy as np
import torch

from benchmarks.beyond.coils import OTHER_NOISE
from benchmarks.quality.coils import MASKS, NOISE, Measurement, measure
from benchmarks.shared import options
from benchmarks.shared.report import line
from mri_iahvae.files import write_json
from mri_iahvae.inference.guidance import estimate_combined
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.coils import Sense
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.kspace.noise import complex_noise, rms
from mri_iahvae.model.guide import Guide
from mri_iahvae.pipeline.loaded import LoadedModel

_DRAWS = 4  # of each slice


def energies(guide: Guide, one: Measurement, noise: float, generator: torch.Generator) -> list[list[float]]:
    """Of each slice: noise variance in units of the slice, and the energies of error, expected error and noise."""
    sigma, found = noise * rms(one.image), []
    for i, (kspace, maps) in enumerate(zip(one.kspace, one.sensitivities, strict=True)):
        sense = Sense(maps[None], one.mask[None, None, None])
        estimate, _ = estimate_combined(
            guide, kspace[None], sense, sigma[i : i + 1], symmetries=InferenceSettings().symmetries
        )
        seen = (maps.conj() * one.maps).sum(0) * one.image[i]
        measured, unit = estimate.measured, estimate.unit.item()
        expected = passed = 0.0
        for _ in range(_DRAWS):
            error = ifft2c(estimate.prediction.draw(complex_noise((1, *seen.shape), 1.0, generator)))
            white = measured.noise.sqrt().item() * complex_noise((1, *kspace.shape), 1.0, generator)
            expected += _energy(unit * measured.between(error, 0 * white, estimate.weighed)) / _DRAWS
            passed += _energy(unit * measured.between(0 * error, white, estimate.weighed)) / _DRAWS
        power = _energy(seen)
        parts = _energy(estimate.image - seen), expected, passed
        found.append([measured.noise.item(), *(part / power for part in parts)])
    return found


def _energy(image: torch.Tensor) -> float:
    return image.abs().square().sum().item()


@click.command()
@options.data
@options.checkpoint
@options.output
@torch.no_grad()
def main(data: Path, checkpoint: str, output: Path | None) -> None:
    """Measure on the fully sampled fastMRI-schema files in DATA."""
    loaded, paths = LoadedModel.load(checkpoint, torch.device("cpu")), sorted(data.glob("*.h5"))
    if loaded.guide is None:
        raise click.UsageError(f"{checkpoint}: a checkpoint without a guide")
    generator, rows = torch.Generator().manual_seed(0), {}
    cases = [*((mask, NOISE) for mask in MASKS), *((MASKS[0], level) for level in OTHER_NOISE)]
    for sampling, noise in cases:
        parts: list[list[float]] = []
        for path in paths:
            parts += energies(loaded.guide, measure(path, sampling, noise), noise, generator)
        level, error, expected, passed = np.mean(parts, axis=0).tolist()
        fraction = (error - passed) / expected
        rows[f"{sampling}, noise {noise:g}"] = {"noise variance": level, "fraction": fraction}
        click.echo(f"{sampling}, noise {noise:g}: noise variance {level:.5f}  fraction {fraction:.2f}")
    levels, fractions = np.log([[row["noise variance"], row["fraction"]] for row in rows.values()]).T
    exponent, constant = np.polyfit(levels, fractions, 1).tolist()
    fit = {"exponent": exponent, "noise variance of one": float(np.exp(-constant / exponent))}
    click.echo(line(fit, ".3f"))
    if output:
        write_json(output, {"guide_sha256": loaded.guide_sha256, **fit, "rows": rows})


if __name__ == "__main__":
    main()
