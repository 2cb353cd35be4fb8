"""Draw the figures of docs/method.md from the example scan and the shipped weights (two minutes on one CPU core).

python examples/method_figures.py docs/figures
"""

import tempfile
from pathlib import Path

import click
import h5py
import numpy as np
from numpy.typing import NDArray
from PIL import Image

import mri_iahvae
from mri_iahvae.cli import main as cli
from mri_iahvae.evaluation.metrics import score

SCALES = (4, 8, 16, 32, 64, 128)
STEPS = (1, 2, 5, 10, 20)
METHODS = {"hybrid": "k-o", "iterative": "k--s", "paper": "k:^"}
TALK = [
    *("--acceleration", "4", "--quality", "fast", "--zoom", "50,44,40", "--window", "99.5"),
    *("--panels", "reference,zero-filled,reconstruction,error", "--error-factor", "5"),
]
COLUMNS = ["--acceleration", "4", "--center-fraction", "0.08"]


def fft(images: NDArray) -> NDArray[np.complex64]:
    """Centred unitary FFT over the last two axes."""
    swapped = np.fft.ifftshift(images, axes=(-2, -1))
    return np.fft.fftshift(np.fft.fft2(swapped, norm="ortho"), axes=(-2, -1)).astype(np.complex64)


def ifft(kspace: NDArray) -> NDArray[np.complex64]:
    """Its inverse."""
    return np.conj(fft(np.conj(kspace)))


def block(side: int, size: int) -> NDArray[np.bool_]:
    """The central side x side bins of size x size, bool."""
    inside = np.zeros((size, size), bool)
    first = size // 2 - side // 2
    inside[first : first + side, first : first + side] = True
    return inside


def show(path: Path, rows: list[list[NDArray]], titles: list[str], names: list[str]) -> None:
    """Rows of images between 0 and 1."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - no display

    figure = Figure(figsize=(1.5 * len(titles), 1.5 * len(rows) + 0.3), dpi=110, layout="constrained")
    axes = figure.subplots(len(rows), len(titles), squeeze=False)
    for line, images, name in zip(axes, rows, names, strict=True):
        for axis, image in zip(line, images, strict=True):
            axis.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(name, fontsize=8)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=8)
    figure.savefig(path)
    shrink(path)


def shrink(path: Path, width: int | None = None) -> None:
    """Greys only, at most `width` pixels wide."""
    with Image.open(path) as picture:
        grey = picture.convert("L")
    if width and grey.width > width:
        grey = grey.resize((width, round(grey.height * width / grey.width)), Image.Resampling.LANCZOS)
    grey.quantize(64).save(path, optimize=True)


def bands(path: Path, kspace: NDArray[np.complex64]) -> None:
    """One slice, k-space complex64 (N, N): each band alone, and all up to it."""
    size = kspace.shape[-1]
    blocks = [block(scale, size) for scale in SCALES]
    rings = [inside & ~inner for inside, inner in zip(blocks, [block(2, size), *blocks[:-1]], strict=True)]
    white = np.abs(ifft(kspace)).max()
    logs = np.clip(1 + np.log10(np.abs(kspace) / np.abs(kspace).max() + 1e-12) / 4, 0, 1)
    alone = [np.abs(ifft(kspace * ring)) for ring in rings]
    show(
        path,
        [
            [logs * ring for ring in rings],
            [image / image.max() for image in alone],
            [np.abs(ifft(kspace * inside)) / white for inside in blocks],
        ],
        [f"s = {scale}" for scale in SCALES],
        ["band R_s, k-space", "its image", "up to B_s"],
    )


def completion(path: Path, kspace: NDArray[np.complex64], target: NDArray[np.float32]) -> None:
    """One slice, (1, N, N) both: the central bins alone, and completed."""
    rows: list[list[NDArray]] = [[], [], []]
    titles = []
    for scale in (8, 16, 32, 64):
        result = mri_iahvae.reconstruct(kspace, up_to=f"{scale}x{scale}")
        zero_filled = np.abs(ifft(result.zero_filled))
        images = (zero_filled, result.magnitude, 3 * np.abs(result.magnitude - target))
        for row, image in zip(rows, images, strict=True):
            row.append(image[0] / target.max())
        before, after = (score(target, image).nmse for image in images[:2])
        titles.append(f"up to {scale}x{scale}\nNMSE {before:.4f} -> {after:.4f}")
    show(path, rows, titles, ["zero-filled", "reconstruction", "error x3"])


def refinement(
    path: Path,
    kspace: NDArray[np.complex64],
    target: NDArray[np.float32],
    columns: NDArray[np.bool_],
    counts: list[int],
) -> None:
    """NMSE of some slices, (slices, N, N), by method and numbers of steps; columns: bool (N,)."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - no display

    tasks = (("everything measured (consistency none)", None, "none"), ("random columns 4x", columns, "hard"))
    figure = Figure(figsize=(8, 3.2), dpi=110, layout="constrained")
    for axis, (title, mask, consistency) in zip(figure.subplots(1, 2), tasks, strict=True):
        common = {"mask": mask, "data_consistency": consistency}
        encoder = mri_iahvae.reconstruct(kspace, method="amortized", **common).magnitude
        axis.axhline(score(target, encoder).nmse, color="0.6", label="amortized (no steps)")
        for method, style in METHODS.items():
            errors = []
            for steps in counts:
                result = mri_iahvae.reconstruct(kspace, method=method, steps=steps, **common)
                errors.append(score(target, result.magnitude).nmse)
                click.echo(f"{title}, {method}, N = {steps}: NMSE {errors[-1]:.4f}")
            axis.plot(counts, errors, style, label=method, markersize=4, linewidth=1)
        axis.set(xscale="log", xlabel="steps N per scale", ylabel="NMSE")
        if mask is None:
            axis.set_yscale("log")
        else:
            axis.set_ylim(bottom=0)
        axis.set_xticks(counts, [str(steps) for steps in counts])
        axis.minorticks_off()
        axis.set_title(title, fontsize=9)
        axis.legend(fontsize=7)
    figure.savefig(path)
    shrink(path)


def run(*arguments: str | int | Path) -> None:
    """One call of `mri-iahvae`."""
    cli.main([str(argument) for argument in arguments], standalone_mode=False)


@click.command()
@click.argument("output", type=click.Path(file_okay=False, path_type=Path))
@click.option("--slices", default=3, show_default=True, type=click.IntRange(1, 8), help="For the curves.")
@click.option("--steps", default=20, show_default=True, type=click.IntRange(1), help="At most.")
def main(output: Path, slices: int, steps: int) -> None:
    """Draw the figures into the folder OUTPUT."""
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole, scan = folder / "whole" / "scan.h5", folder / "scan.h5"
        run("example", whole)
        chosen = slice(12, 12 + slices)
        with h5py.File(whole) as source, h5py.File(scan, "w") as file:
            kspace = file["kspace"] = source["kspace"][chosen]
            target = file["reconstruction_esc"] = source["reconstruction_esc"][chosen]
        results = folder / "results"
        drawn = ["--samples", 32, "--steps", steps, "--slices", 0]
        drawn += ["--panels", "reconstruction,error,deviation"]
        run("reconstruct", scan, *COLUMNS, *drawn, "-q", "-o", results)
        (results / "scan_kspace.png").replace(output / "uncertainty.png")
        run("reconstruct", whole, *TALK, "-q", "-o", folder / "talk")
        (folder / "talk" / "scan_kspace.png").replace(output / "talk.png")
        run("sample", "--count", 2, "--temperature", "0.7", "--progression", "-o", folder / "prior")
        (folder / "prior" / "progression.png").replace(output / "prior.png")
        with h5py.File(results / "scan.h5") as file:
            columns = file["mask"][()]
    for picture in ("uncertainty.png", "prior.png"):
        shrink(output / picture, 1000)
    bands(output / "bands.png", kspace[0])
    completion(output / "completion.png", kspace[:1], target[:1])
    counts = [count for count in STEPS if count <= steps]
    refinement(output / "refinement.png", kspace, target, columns, counts)


if __name__ == "__main__":
    main()
