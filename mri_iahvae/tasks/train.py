"""Train a model on a folder of fully sampled fastMRI-schema files."""

from contextlib import ExitStack
from pathlib import Path

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mri_iahvae.errors import UsageError
from mri_iahvae.files import folder_of_one_run, make_folder
from mri_iahvae.kspace.centre_crop import recentre
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.model.config import ModelConfig
from mri_iahvae.model.iahvae import IAHVAE
from mri_iahvae.processes import ALONE, Processes, joined, rank
from mri_iahvae.results.figures import grid_figure
from mri_iahvae.results.provenance import provenance
from mri_iahvae.scans.geometry import require_measured_grid, scan_geometry
from mri_iahvae.scans.listing import hdf5_files
from mri_iahvae.scans.reader import open_scan
from mri_iahvae.scans.scan import Scan
from mri_iahvae.training.objective import complete, posterior_pass
from mri_iahvae.training.recorder import Display
from mri_iahvae.training.run import run_training
from mri_iahvae.training.run_record import start_or_resume
from mri_iahvae.training.settings import TrainSettings
from mri_iahvae.training.states import states

_HELD_OUT_EVERY = 10  # one file in ten validates where the folder has no singlecoil_val


class FolderSlices:
    """The slices of some scans, one after the other, on the model's grid.

    Args:
        scans: opened files.
        size: side of the grid.
    """

    def __init__(self, scans: list[Scan], size: int) -> None:
        self.size = size
        self._where = [
            (scan, geometry, number)
            for scan, geometry in ((scan, scan_geometry(scan)) for scan in scans)
            for number in range(scan.slices)
        ]

    def __len__(self) -> int:
        """Number of slices."""
        return len(self._where)

    def read(self, index: int) -> NDArray[np.complex64]:
        """k-space of one slice: complex64 (size, size), in the file's units."""
        scan, geometry, number = self._where[index]
        return np.ascontiguousarray(recentre(geometry.reduce(scan.read(number)[0]), self.size, self.size))


def train(
    data: str | Path,
    run: str | Path,
    preset: ModelConfig,
    settings: TrainSettings,
    *,
    display: Display,
    device: torch.device,
    resume: bool = False,
    domain: str | None = None,
    processes: Processes = ALONE,
) -> Path:
    """Train a model, or go on training it.

    Args:
        data: folder of fully sampled single-coil fastMRI-schema files; readout oversampling is removed, and the
            central bins, as many as the model's grid has, are trained on. Or a folder with `singlecoil_train/`
            and `singlecoil_val/`. Without the latter every tenth file validates.
        run: folder for everything that the run writes; the finished model is `run/model`.
        preset: the model.
        settings: of the training.
        display: shows progress.
        device: to train on.
        resume: go on from the newest state in `run`; the other arguments must be those of the start.
        domain: anatomy and contrasts, in words, stored with the weights; None: the acquisitions that the files
            state.
        processes: that share the run; the program that calls is started again for each. Settings do not depend on
            them, and neither do results beyond rounding: a run may go on with another number.

    Returns:
        Folder of the checkpoint.

    Raises:
        UsageError: `run` holds another run, or one that is going on; no such folder of data, or several stages for
            a model that cannot grow.
        ScanError: a file cannot be used for training.
        IahvaeError: too many steps in a row were not finite, or `run` cannot be written to; the last state stays.
        KeyboardInterrupt: stopped by SIGINT or SIGTERM, the state is saved; its text tells of which step.
    """
    run = Path(run)
    if len(settings.stages) > 1 and not preset.grows:
        raise UsageError(
            "--stages: a model with a bottom-up encoder cannot grow, because its finest scale feeds all others; "
            f"expected one stage, such as {preset.size}:2000"
        )
    record = {
        "data": Path(data).name,
        **provenance(device),
        "lightning": lightning.__version__,
        "processes": processes.count,
    }
    resolved = {"model": preset.to_json(), "settings": settings.to_json(), **record}
    training, held_out = _split(Path(data), preset.size)
    if resume and not (run / "run.json").is_file():
        raise UsageError(f"{run}: --resume found no run there; start without it")
    _require_shares(settings, processes.count)
    with joined(processes, device) as own_device, ExitStack() as folder:
        if rank() == 0:
            make_folder(run)
            folder.enter_context(folder_of_one_run(run))
            start_or_resume(run, resolved, resume=resume)
        try:
            return run_training(
                preset,
                settings,
                FolderSlices(training, preset.size),
                FolderSlices(held_out, preset.size),
                run,
                device=own_device,
                resume=resume,
                display=display,
                draw=_draw,
                record={
                    **record,
                    "training_files": len(training),
                    "training_slices": sum(s.slices for s in training),
                },
                description=_acquisitions(training) if domain is None else domain,
                processes=processes,
            )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_interrupted(run, settings)) from None


def _interrupted(run: Path, settings: TrainSettings) -> str:
    """Where a run was interrupted; nothing where it has no state yet."""
    if not (saved := states(run)):
        return ""
    stage, step, _ = saved[-1]
    place = f"step {settings.done(stage, step)} of {settings.planned}"
    return f"Interrupted at {place} in {run}; `--resume` goes on"


def _require_shares(settings: TrainSettings, count: int) -> None:
    """Each process needs as many slices of each batch, and of the half that the second term is computed on."""
    for stage in settings.stages:
        if count > 1 and stage.batch % (2 * count):
            raise UsageError(
                f"--batch {stage.batch}: expected a multiple of {2 * count}, two slices for each of the {count} "
                "processes that share it"
            )


def _acquisitions(scans: list[Scan]) -> str:
    """What the files say of themselves, such as "CORPDFS_FBK, CORPD_FBK"."""
    stated = {str(scan.attributes.get("acquisition", "")) for scan in scans}
    return ", ".join(sorted(stated - {""})) or "not stated"


def _split(data: Path, size: int) -> tuple[list[Scan], list[Scan]]:
    """Training and held-out scans."""
    if not data.is_dir():
        raise UsageError(
            f"{data}: expected a folder of fastMRI-schema HDF5 files, found no such folder; check the path"
        )
    folders = data / "singlecoil_train", data / "singlecoil_val"
    if folders[0].is_dir() and folders[1].is_dir():
        training, held_out = (_open_all(folder, size) for folder in folders)
    else:
        scans = _open_all(folders[0] if folders[0].is_dir() else data, size)
        if len(scans) < 2:
            raise UsageError(f"{data}: expected at least two files, one to train on and one to validate on")
        held_out = scans[_HELD_OUT_EVERY - 1 :: _HELD_OUT_EVERY] or scans[-1:]
        training = [scan for scan in scans if scan not in held_out]
    return training, held_out


def _open_all(folder: Path, size: int) -> list[Scan]:
    paths = hdf5_files(folder)
    if not paths:
        raise UsageError(f"{folder}: expected fastMRI-schema files (*.h5, *.hdf5), found none")
    scans = [open_scan(path) for path in paths]
    for scan in scans:
        require_measured_grid(scan, size)
    return scans


@torch.no_grad()
def _draw(model: IAHVAE, path: Path, kspace: Tensor) -> None:
    """Reference, amortized reconstruction, completions from a quarter and an eighth, and prior samples."""
    kspace = kspace[:: max(1, len(kspace) // 6)][:6].to(model.gains.device)
    passed = posterior_pass(model, kspace)
    rows, titles = [kspace, passed.bins], ["reference", "amortized"]
    for cut in (len(model.gains) - 3, len(model.gains) - 4):
        s = 2**cut
        rows.append(complete(model, kspace, s))
        titles.append(f"from {s}x{s}")
    noise = torch.Generator(kspace.device).manual_seed(0)
    rows.append(complete(model, kspace, 0, noise))
    titles.append("prior samples")
    columns = [ifft2c(row).abs().cpu().numpy() for row in rows]
    grid_figure(path, [list(images) for images in zip(*columns, strict=True)], titles)
