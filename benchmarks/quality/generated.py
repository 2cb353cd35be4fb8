"""Files of public generators, run through the commands: ours beside BART's reconstruction, against the known phantom.

    python -m benchmarks.quality.generated --json benchmarks/quality/generated.json

`bart phantom` and `ismrmrd_generate_cartesian_shepp_logan` make the files; BART reconstructs them by FFT and by `pics`
(L1 wavelets, sensitivities of `ecalib`); `mri-iahvae inspect`, `reconstruct`, `denoise` and `evaluate` run as a user
runs them. The target is the magnitude of the noise-free image, of several coils their root of the sum of squares. All
FFTs here are unitary, so all images are in the units of the file and no scale is fitted. `pics` has the best of
`WEIGHTS` by NMSE against that target, which favours it.

Needs the programs (Debian packages bart and ismrmrd-tools) and the extra ismrmrd. Seconds are processor time of whole
commands: of ours most is the start of Python.
"""

import json
import resource
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import h5py
import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.tables import short
from benchmarks.shared import options
from mri_iahvae.files import write_json
from mri_iahvae.kspace.centre_crop import crop_image
from mri_iahvae.model.checkpoint_config import find_checkpoint, read_config
from mri_iahvae.scans.formats.bart import cfl_array
from mri_iahvae.scans.scan import to_complex64

SIDE = 128
CALIBRATION = 24
"""Lines."""
WEIGHTS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
TARGET = "phantom"
GENERATOR = "ismrmrd_generate_cartesian_shepp_logan"
PROGRAMS = {"bart": "bart", GENERATOR: "ismrmrd-tools"}
"""And their Debian packages."""
OURS = {
    "ours": ["reconstruct"],
    "ours, sensitivity": ["reconstruct", "--coil-combine", "sensitivity"],
    "ours, denoise": ["denoise"],
}
SAID = ("coils", "height", "width", "mask", "readout_oversampling", "noise")
"""Of `inspect`, what is kept."""

Word = str | float | Path
Scores = dict[str, dict[str, float]]

_ROWS, _BOTH, _COILS = 1, 3, 8  # BART's bit masks of dimensions


@dataclass(frozen=True)
class Variant:
    """What a generator makes.

    Attributes:
        program: "bart" or "ismrmrd".
        coils: their number.
        noise: standard deviation per part, over the RMS of k-space (bart) or in the units of the file (ismrmrd).
        pattern: "full"; "lines", equispaced and the central `CALIBRATION`; or "poisson", variable density.
        acceleration: of the pattern, but for its centre.
        oversampling: of the readout.
    """

    program: str
    coils: int
    noise: float
    pattern: str = "full"
    acceleration: int = 1
    oversampling: int = 1

    @property
    def name(self) -> str:
        """Of the file, and of the row."""
        words = [self.program, f"{self.coils}coil", self.pattern, f"noise{self.noise:g}"]
        words[3:3] = [f"{self.acceleration}x"] if self.acceleration > 1 else []
        return "-".join(words)


VARIANTS = (
    Variant("bart", 1, 0.0),
    Variant("bart", 1, 0.1),
    Variant("bart", 1, 0.02, "lines", 4),
    Variant("bart", 1, 0.02, "poisson", 8),
    Variant("bart", 8, 0.1),
    Variant("bart", 8, 0.02, "lines", 4),
    Variant("bart", 8, 0.02, "poisson", 8),
    Variant("ismrmrd", 1, 0.05, oversampling=2),
    Variant("ismrmrd", 8, 0.05, oversampling=2),
    Variant("ismrmrd", 8, 0.05, "lines", 2, oversampling=2),
    Variant("ismrmrd", 8, 0.05, "lines", 4, oversampling=2),
)


@dataclass
class Shell:
    """Runs programs in a folder, and counts their processor time."""

    folder: Path
    seconds: float = 0.0

    def __call__(self, *command: Word) -> str:
        """Standard output."""
        words = [*map(str, command)]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(words, cwd=self.folder, capture_output=True, text=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.seconds += after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        if done.returncode:
            raise click.ClickException(f"{' '.join(words)}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def bart(self, *command: Word) -> None:
        """A tool of BART."""
        self("bart", *command)

    def ours(self, *command: Word) -> dict[str, Any]:
        """What our command prints as JSON."""
        found: dict[str, Any] = json.loads(self(sys.executable, "-m", "mri_iahvae", *command, "--json"))
        return found

    def magnitude(self, name: str) -> NDArray[np.floating]:
        """Of a pair of BART's files, axes of length 1 left out."""
        return np.abs(cfl_array(self.folder / f"{name}.cfl")).squeeze()


def write_cfl(path: Path, values: NDArray) -> None:
    """A pair of files by its bare name; the first axis varies fastest."""
    Path(f"{path}.hdr").write_text("# Dimensions\n" + " ".join(map(str, values.shape)) + "\n")
    Path(f"{path}.cfl").write_bytes(values.astype("<c8").tobytes(order="F"))


def from_bart(shell: Shell, variant: Variant) -> tuple[Path, NDArray[np.floating]]:
    """The scan, which is `kspace` for BART too, and the target."""
    coils: list[Word] = ["-s", variant.coils] if variant.coils > 1 else []
    shell.bart("phantom", "-k", "-x", SIDE, *coils, "clean")
    power = float(np.mean(np.square(shell.magnitude("clean"))))
    shell.bart("noise", "-s", 1, "-n", 2 * variant.noise**2 * power, "clean", "kspace")
    if variant.pattern == "lines":
        shell.bart("upat", "-Y", SIDE, "-Z", 1, "-y", variant.acceleration, "-c", CALIBRATION // 2, "pattern")
    elif variant.pattern == "poisson":
        shell.bart("poisson", "-Y", SIDE, "-Z", SIDE, "-y", 1.5, "-z", 1.5, "-C", 16, "-v", "drawn")
        shell.bart("transpose", 0, 2, "drawn", "pattern")
    if variant.pattern != "full":
        shell.bart("copy", "kspace", "all")
        shell.bart("fmac", "all", "pattern", "kspace")
    shell.bart("copy", "kspace", variant.name)
    return shell.folder / f"{variant.name}.cfl", zero_filled(shell, "clean")


def from_ismrmrd(shell: Shell, variant: Variant) -> tuple[Path, NDArray[np.floating]]:
    """As `from_bart`; of an accelerated file the first repetition, as each has a pattern of its own."""
    path = shell.folder / f"{variant.name}.h5"
    width = CALIBRATION if variant.pattern == "lines" else 0
    shape: list[Word] = ["-m", SIDE, "-c", variant.coils, "-O", variant.oversampling, "-n", variant.noise]
    shell(GENERATOR, *shape, "-a", variant.acceleration, "-w", width, "-o", path)
    with h5py.File(path) as file:
        images, lines = file["dataset/coil_images"][0], file["dataset/data"][()]
    # Of images and k-space the generator's last axis is the readout, which is BART's first.
    target = np.linalg.norm(to_complex64(images), axis=0).T
    kspace = np.zeros((SIDE * variant.oversampling, SIDE, 1, variant.coils), np.complex64)
    for head, _, samples in lines:
        if head["idx"]["repetition"] == 0:
            bins = samples.view(np.complex64).reshape(variant.coils, -1)
            kspace[:, head["idx"]["kspace_encode_step_1"], 0] = bins.T
    write_cfl(shell.folder / "oversampled", kspace)
    shell.bart("fft", "-i", "-u", _ROWS, "oversampled", "hybrid")
    shell.bart("resize", "-c", 0, SIDE, "hybrid", "cropped")
    shell.bart("fft", "-u", _ROWS, "cropped", "kspace")
    return path, crop_image(target, SIDE, SIDE)


def zero_filled(shell: Shell, kspace: str = "kspace") -> NDArray[np.floating]:
    """BART's FFT, and root of the sum of squares."""
    shell.bart("fft", "-i", "-u", _BOTH, kspace, "images")
    shell.bart("rss", _COILS, "images", "image")
    return shell.magnitude("image")


def pics(shell: Shell, coils: int, weight: float) -> NDArray[np.floating]:
    """L1-wavelet ESPIRiT; of one coil L1 wavelets."""
    if coils > 1:
        shell.bart("ecalib", "-m", 1, "-r", CALIBRATION, "kspace", "maps")
    else:
        shell.bart("ones", 2, SIDE, SIDE, "maps")
    shell.bart("pics", "-S", "-l1", "-r", weight, "kspace", "maps", "image")
    return shell.magnitude("image")


def write_image(path: Path, name: str, image: NDArray) -> None:
    """One slice, as `evaluate` reads it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file[name] = image[None].astype(np.float32)


def run(folder: Path, variant: Variant, checkpoint: str) -> tuple[Scores, dict[str, Any]]:
    """Make a variant and reconstruct it into `folder` / method: a row for each, and what `inspect` says."""
    work = folder / "work" / variant.name
    work.mkdir(parents=True)
    scan, target = (from_bart if variant.program == "bart" else from_ismrmrd)(Shell(work), variant)
    write_image(folder / TARGET / f"{variant.name}.h5", TARGET, target)
    rows: Scores = {}

    def keep(method: str, image: NDArray, seconds: float, **more: float) -> None:
        write_image(folder / method / f"{variant.name}.h5", "reconstruction", image)
        rows[method] = {"seconds_per_slice": seconds, **more}

    shell = Shell(work)
    keep("BART, FFT", zero_filled(shell), shell.seconds)
    least = np.inf
    for weight in WEIGHTS:
        shell = Shell(work)
        image = pics(shell, variant.coils, weight)
        if (error := float(np.square(image - target).sum())) < least:
            least = error
            keep("BART, pics", image, shell.seconds, weight=weight)
    first = ["--select", "repetition=0"] if variant.program == "ismrmrd" else []
    for method, command in OURS.items():
        if variant.coils > 1 or "--coil-combine" not in command:
            shell = Shell(work)
            shell.ours(*command, scan, *first, "--checkpoint", checkpoint, "-o", folder / method)
            rows[method] = {"seconds_per_slice": shell.seconds}
    said = Shell(work).ours("inspect", scan, *first)["files"][0]
    return rows, {key: said[key] for key in SAID}


@click.command()
@options.checkpoint
@options.output
def main(checkpoint: str, output: Path | None) -> None:
    """Make the files, run the commands, and print the table."""
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        packages = " and ".join(PROGRAMS[program] for program in missing)
        raise click.ClickException(f"{' and '.join(missing)}: no such program; install {packages} (Debian)")
    tasks, said, config = {}, {}, read_config(find_checkpoint(checkpoint))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shell = Shell(folder)
        for variant in VARIANTS:
            tasks[variant.name], said[variant.name] = run(folder, variant, checkpoint)
            click.echo(variant.name)
        for method in dict.fromkeys(method for rows in tasks.values() for method in rows):
            scores = shell.ours("evaluate", method, TARGET, "--target", TARGET, "--partial")
            for volume in scores["volumes"]:
                row = tasks[Path(volume["prediction"]).stem][method]
                row |= {score: volume[score] for score in ("nmse", "psnr", "ssim")}
        facts = {"bart": shell("bart", "version").strip(), "model_sha256": config["sha256"]}
    if output is not None:
        write_json(output, {**facts, "tasks": tasks, "inspect": said})
    click.echo(short(tasks))


if __name__ == "__main__":
    main()
