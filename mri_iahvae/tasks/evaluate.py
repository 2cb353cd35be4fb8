"""Score reconstructions against their targets, as fastMRI's own evaluation does."""

from collections.abc import Iterable, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mri_iahvae
from mri_iahvae.errors import IahvaeError, ScanError, UsageError, unusable
from mri_iahvae.evaluation.metrics import MIN_SIDE, RunningScores, Scores, crop_pair
from mri_iahvae.evaluation.summary import Summary, summarise
from mri_iahvae.scans.formats.fastmri_images import Target, read_reconstruction, read_target
from mri_iahvae.scans.listing import hdf5_files
from mri_iahvae.scans.reader import AS_STORED, Reading
from mri_iahvae.scans.scan import RECONSTRUCTION
from mri_iahvae.words import counted

UNSTATED = "not stated"
"""Group of the volumes whose file states no acquisition."""

_NAMES_SHOWN = 5


@dataclass(frozen=True)
class VolumeScores:
    """One reconstructed volume against its target; `dataset` is "kspace" where the target was made of that."""

    prediction: Path
    target: Path
    dataset: str
    acquisition: str
    slices: int
    scores: Scores
    mismatch: str = ""
    """Why the scores may be meaningless, one sentence; nothing where they are not."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        facts = {**asdict(self), "prediction": str(self.prediction), "target": str(self.target)}
        del facts["scores"]
        return {**facts, **self.scores.to_dict()}


@dataclass(frozen=True)
class Failure:
    """A pair of files that could not be scored, and why in one line."""

    prediction: Path
    error: str


@dataclass(frozen=True)
class Evaluation:
    """Scores of all volumes.

    Attributes:
        volumes: by acquisition, then by name.
        failures: what could not be scored.
        left_out: number of targets without prediction, where those may be.
    """

    volumes: tuple[VolumeScores, ...]
    failures: tuple[Failure, ...]
    left_out: int = 0

    @property
    def by_acquisition(self) -> dict[str, Summary]:
        """Over the volumes of each acquisition."""
        groups: dict[str, list[Scores]] = {}
        for volume in self.volumes:
            groups.setdefault(volume.acquisition, []).append(volume.scores)
        return {acquisition: summarise(scores) for acquisition, scores in groups.items()}

    @property
    def overall(self) -> Summary | None:
        """Over all volumes; None where none was scored."""
        return summarise([volume.scores for volume in self.volumes]) if self.volumes else None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "version": mri_iahvae.__version__,
            "volumes": [volume.to_json() for volume in self.volumes],
            "by_acquisition": {name: summary.to_dict() for name, summary in self.by_acquisition.items()},
            "overall": self.overall and self.overall.to_dict(),
            "failed": [
                {"prediction": str(failure.prediction), "error": failure.error} for failure in self.failures
            ],
            "left_out": self.left_out,
        }


def evaluate(
    predictions: str | Path,
    targets: str | Path,
    *,
    target: str | None = None,
    acquisition: str | None = None,
    partial: bool = False,
    reading: Reading = AS_STORED,
) -> Evaluation:
    """Score reconstructions against their targets by fastMRI's definitions (Python API).

    Args:
        predictions: HDF5 file with `reconstruction` (slices, H, W), magnitude, or a folder of them (`*.h5`).
        targets: HDF5 file, or a folder of files of the same names; for what counts as the target see
            `scans.formats.fastmri_images.read_target`.
        target: dataset of the target.
        acquisition: score only volumes whose target file states this acquisition.
        partial: leave out targets without a prediction; else they are an error.
        reading: of k-space that makes a target.

    Returns:
        The scores. A pair that cannot be scored is a failure of its own and does not stop the others.

    Raises:
        UsageError: as `file_pairs` and `score_pairs`.
        ScanError: as `file_pairs`.
    """
    pairs, left_out = file_pairs(Path(predictions), Path(targets), partial=partial)
    return score_pairs(pairs, target=target, acquisition=acquisition, left_out=left_out, reading=reading)


def file_pairs(
    predictions: Path, targets: Path, *, partial: bool = False
) -> tuple[list[tuple[Path, Path]], int]:
    """Predictions with their targets, arguments as in `evaluate`; and the number of targets that were left out.

    Two files are a pair as they are; folders are matched by file name, and so are a file and a folder.

    Raises:
        UsageError: a file without its counterpart, or a folder without files.
        ScanError: neither a file nor a folder.
    """
    for path in (predictions, targets):
        if not path.exists():
            raise unusable(path, "an HDF5 file or a folder of them", "neither", "check the path")
    if predictions.is_file() and targets.is_file():
        return [(predictions, targets)], 0
    left, right = _by_name(predictions), _by_name(targets)
    alone = []
    if targets.is_dir() and (names := left.keys() - right.keys()):
        alone.append(f"no target for {_listed(names)}")
    left_out = right.keys() - left.keys() if predictions.is_dir() else set()
    if left_out and not (partial and left_out < right.keys()):
        alone.append(f"no prediction for {_listed(left_out)}")
    if alone:
        hint = " (targets: --partial)" if left_out and not partial else ""
        raise UsageError(
            f"{predictions} and {targets}: expected files of the same names, found {' and '.join(alone)}; "
            f"add what is missing, or leave the others out{hint}"
        )
    return [(left[name], right[name]) for name in sorted(left.keys() & right.keys())], len(left_out)


def score_pairs(
    pairs: Iterable[tuple[Path, Path]],
    *,
    target: str | None = None,
    acquisition: str | None = None,
    left_out: int = 0,
    reading: Reading = AS_STORED,
) -> Evaluation:
    """Score pairs of a prediction and a target file, one at a time; the other arguments as in `evaluate`.

    Both are cropped as `crop_pair` says; the data range of PSNR and SSIM is the maximum of the target volume after
    that.

    Raises:
        UsageError: no target of that acquisition, or a target's name that cannot be one.
    """
    found: list[VolumeScores] = []
    failures: list[Failure] = []
    others: set[str] = set()
    for prediction, path in pairs:
        try:
            reference = read_target(path, target, reading)
            stated = reference.acquisition or UNSTATED
            if acquisition is not None and stated != acquisition:
                others.add(stated)
                continue
            running = _score(prediction, path, reference)
        except UsageError:
            raise
        except IahvaeError as error:
            failures.append(Failure(prediction, str(error)))
        else:
            facts = reference.source, stated, len(reference.images)
            found.append(VolumeScores(prediction, path, *facts, running.scores(), running.mismatch.text()))
    if others and not found and not failures:
        raise UsageError(f"--acquisition {acquisition}: no target has it; found {', '.join(sorted(others))}")
    found.sort(key=lambda volume: (volume.acquisition, volume.prediction.name))
    return Evaluation(tuple(found), tuple(failures), left_out)


def _score(prediction: Path, path: Path, reference: Target) -> RunningScores:
    target, images = reference.images, read_reconstruction(prediction, reference.source)
    if len(images) != len(target):
        wanted = f"{counted(len(target), 'slice')}, as in the target"
        raise unusable(prediction, wanted, len(images), "compare whole volumes")
    try:
        target, images = crop_pair(target, images)
    except ValueError as error:
        raise ScanError(
            f"{prediction}: {error} pixels of '{RECONSTRUCTION}'; reconstruct the whole field"
        ) from None
    if min(target.shape[1:]) < MIN_SIDE:
        wanted = f"a target of at least {MIN_SIDE}x{MIN_SIDE}"
        raise unusable(path, wanted, target.shape, "leave the file out")
    if not target.any():
        raise unusable(path, "a target with signal", "zeros only", "leave the file out")
    running = RunningScores(float(target.max()))
    running.add(target, images)
    return running


def _by_name(path: Path) -> dict[str, Path]:
    """Files of a folder, or the one file, by name."""
    if path.is_file():
        return {path.name: path}
    files = {file.name: file for file in hdf5_files(path)}
    if not files:
        raise UsageError(f"{path}: expected HDF5 files (*.h5, *.hdf5), found none")
    return files


def _listed(names: Set[str]) -> str:
    shown = sorted(names)[:_NAMES_SHOWN]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")
