"""The out-of-distribution score of phantoms and noise that are measured whole, and of the scans in DATA.

    python -m benchmarks.quality.out_of_distribution data/reporting --json benchmarks/quality/out_of_distribution.json

Four slices of each phantom with their own smooth phase, over the whole field of view and over 0.7 of it, with white
noise (per part, in units of the slice's RMS). A set is warned of as `reconstruct` warns of a volume; beside it stands
what the residual of the coarse bands alone would say.

Then, of the first slice of each scan, which of completed energy, noise and phase are said to be beyond training, as it
is and changed, fully sampled and at 4x, by the guide alone.
"""

from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from skimage.data import shepp_logan_phantom
from skimage.transform import resize
from torch import Tensor

from benchmarks.shared import options
from mri_iahvae.files import write_json
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.kspace.bands import crop, embed, recentre
from mri_iahvae.kspace.fft import fft2c, ifft2c
from mri_iahvae.kspace.masks import DrawnMask
from mri_iahvae.kspace.noise import complex_noise, rms
from mri_iahvae.kspace.phase import smooth_phase
from mri_iahvae.model.checkpoint import load_domain, load_model
from mri_iahvae.model.domain import Domain
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.pipeline.loaded import LoadedModel
from mri_iahvae.pipeline.out_of_distribution import ASPECTS, domain_warnings
from mri_iahvae.pipeline.volume import reconstruct_volume
from mri_iahvae.scans.geometry import scan_geometry
from mri_iahvae.scans.listing import scan_files
from mri_iahvae.scans.reader import open_scan

_FINE = 320  # pixels along a side of the field of view in which phantoms are drawn
_SLICES = 4
FRACTIONS = (1.0, 0.7)
NOISES = (0.0, 0.02, 0.05, 0.1)


def phantoms(size: int) -> dict[str, NDArray[np.float64]]:
    """Images (size, size) by name; the object nearly fills them."""
    y, x = (2 * np.mgrid[:size, :size] - size + 1) / size

    def disc(cy: float, cx: float, ry: float, rx: float) -> NDArray[np.bool_]:
        return ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1

    tubes = 0.1 * disc(0, 0, 0.9, 0.9)
    for k, angle in enumerate(np.arange(6) * np.pi / 3):
        tubes += (0.2 + 0.15 * k) * disc(0.55 * np.sin(angle), 0.55 * np.cos(angle), 0.17, 0.17)
    bars = (abs(y - 0.1) < 0.12) & (abs(x) < 0.6) & (np.floor(40 * x) % 2 == 0)
    wedge = (abs(y + 0.35) < 0.1) & (abs(x) < 0.5)
    return {
        "bottle": 1.0 * disc(0, 0, 0.9, 0.9),
        "oval": 1.0 * disc(0, 0, 0.9, 0.7),
        "square": 1.0 * ((abs(y) < 0.8) & (abs(x) < 0.8)),
        "ACR-like": disc(0, 0, 0.95, 0.95)
        * (1 - 0.9 * (bars | wedge))
        * (1 - 0.7 * disc(0.6, 0, 0.12, 0.12)),
        "tubes": tubes,
        "Shepp-Logan": resize(shepp_logan_phantom(), (size, size), anti_aliasing=True).clip(min=0),
    }


def measured(image: NDArray[np.float64], grid: int, noise: float, generator: torch.Generator) -> Tensor:
    """k-space (slices, grid, grid) of an image in the middle of the field of view."""
    whole = np.zeros((_FINE, _FINE), np.float32)
    start = (_FINE - len(image)) // 2
    whole[start : start + len(image), start : start + len(image)] = image
    magnitude = torch.from_numpy(whole).expand(_SLICES, -1, -1)
    phase = smooth_phase(_SLICES, (_FINE, _FINE), generator)
    kspace = recentre(fft2c(torch.polar(magnitude.contiguous(), phase)), grid)
    return kspace + noise * rms(kspace)[:, None, None] * complex_noise(tuple(kspace.shape), 1.0, generator)


def judged(model: IAHVAE, domain: Domain, kspace: Tensor) -> dict[str, object]:
    """Slices outside and whether it is warned of, with and without the texture."""
    row: dict[str, object] = {"slices": len(kspace)}
    everything = torch.ones(kspace.shape, dtype=torch.bool)
    for name, used in {"residual": replace(domain, texture=None), "both": domain}.items():
        fit = used.score(model, kspace, everything, torch.zeros(len(kspace))).numpy()
        row[name] = {"outside": int((fit > 1).sum()), "warned": bool(domain_warnings(fit, used))}
    return row


def changed(kspace: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """K-space (n, H, W) of the magnitudes of some slices with phases and noise that training never showed."""
    image = ifft2c(kspace)
    count, *size = image.shape
    white = complex_noise((count, *size), 1.0, generator)
    lumps = embed(crop(fft2c(white), 16), *size)  # of 1/16 of the field
    lumps = ifft2c(lumps).real
    lumps = 2 * lumps / lumps.std(dim=(1, 2), keepdim=True)
    wide = smooth_phase(count, (size[0], size[1]), generator, strength=6.0)
    turned = {"random phase": white.angle(), "lumpy phase": lumps, "smooth phase of 6 rad": wide}
    noisy = kspace + 3 * rms(kspace)[:, None, None] * white
    phases = {name: fft2c(torch.polar(image.abs(), phase)) for name, phase in turned.items()}
    return {"as they are": kspace, **phases, "noise of 3": noisy}


def beyond(loaded: LoadedModel, kspace: Tensor, mask: NDArray[np.bool_]) -> dict[str, int]:
    """Slices that are said to be beyond training, by aspect."""
    settings = InferenceSettings("guide", symmetries=1)
    given = {"guide": loaded.guide, "domain": loaded.domain}
    found = reconstruct_volume(loaded.model, kspace.numpy(), mask, settings, **given)  # type: ignore[arg-type]
    return dict(zip(ASPECTS, (found.beyond_training > 1).sum(axis=0).tolist(), strict=True))


@click.command()
@options.data
@options.checkpoint
@options.output
def main(data: Path, checkpoint: str, output: Path | None) -> None:
    """Judge phantoms, noise, and the fully sampled fastMRI-schema files in DATA."""
    model, _ = load_model(checkpoint)
    domain = load_domain(checkpoint)
    if domain is None:
        raise click.UsageError(f"{checkpoint}: it does not say what it knows")
    generator = torch.Generator().manual_seed(0)
    sets: dict[str, Tensor] = {}
    for path in scan_files([data]):
        scan = open_scan(path)
        slices = scan_geometry(scan).reduce(scan.read(slice(None)))
        sets[path.name] = recentre(torch.from_numpy(slices), model.size)
    sets["noise"] = complex_noise((_SLICES, model.size, model.size), 1.0, generator)
    for fraction in FRACTIONS:
        for name, image in phantoms(2 * round(_FINE * fraction / 2)).items():
            for noise in NOISES:
                kspace = measured(image, model.size, noise, generator)
                sets[f"{name}, {fraction:g} of the field, noise {noise:g}"] = kspace
    rows = {name: judged(model, domain, kspace) for name, kspace in sets.items()}
    for name, row in rows.items():
        click.echo(f"{name:45} {row}")
    first = torch.stack([kspace[0] for name, kspace in sets.items() if name.endswith(".h5")])
    loaded = LoadedModel.load(checkpoint, torch.device("cpu"))
    shape = (model.size, model.size)
    masks = {
        "fully sampled": np.ones(shape, bool),
        "4x": np.tile(DrawnMask(4, 0.08, "random").mask(shape, "slices"), (model.size, 1)),
        "4x without the centre": np.tile(DrawnMask(4, 0.0, "random").mask(shape, "slices"), (model.size, 1)),
    }
    for name, volume in changed(first, generator).items():
        for kind, mask in masks.items():
            label = f"first slices, {name}, {kind}"
            rows[label] = {"slices": len(volume), **beyond(loaded, volume, mask)}
            click.echo(f"{label:60} {rows[label]}")
    if output:
        write_json(output, rows)


if __name__ == "__main__":
    main()
