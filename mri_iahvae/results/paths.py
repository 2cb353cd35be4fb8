"""Where the result of an input file goes, and the files that are written beside it."""

import re
from collections.abc import Iterable
from pathlib import Path

from mri_iahvae.errors import IahvaeError, UsageError, reason
from mri_iahvae.files import longest_name, make_folder, require_fitting, shortened
from mri_iahvae.results.drawing import FORMATS
from mri_iahvae.results.options import stored_options

_OTHER_FORMATS = re.compile(r"\.(mrd|cfl|hdr|npy|nii|nii\.gz)$", re.IGNORECASE)
_ENDS = {
    "picture": "_kspace.{format}",
    "contact_sheet": "_slices.{format}",
    "gif": "_scales.gif",
    "cine": "_cine.gif",
    "profile": "_profile.{format}",
    "nifti": ".nii.gz",
    "sidecar": ".json",
    "dicom": "_dicom",
    "report": "_report.json",
    "plan": "_plan.npy",
    "plan_picture": "_plan.png",
}
_OPTIONAL = {
    "contact_sheet": ("contact_sheet",),
    "gif": ("gif",),
    "series": ("cine", "profile"),
    "nifti": ("nifti", "sidecar"),
    "dicom": ("dicom",),
}
"""Kinds of files that are written on request, by the option that asks for them."""


SLICES = "[0-9][0-9][0-9][0-9].dcm"
"""Names of the files in the folder of DICOM slices; others there are not ours."""


def result_name(source: Path) -> str:
    """Name of the result of an input: of HDF5 the same, as fastMRI wants it, `<stem>.h5` of others, `<name>.h5` of a
    folder of frames.
    """
    if source.is_dir():
        return f"{source.resolve().name}.h5"
    return _OTHER_FORMATS.sub(".h5", source.name)


def possible_names(source: Path) -> set[str]:
    """Names of the result of an input file and of everything that may be written beside it."""
    stem = Path(result_name(source)).stem
    return {
        result_name(source),
        *(f"{stem}{end.format(format=one)}" for end in _ENDS.values() for one in FORMATS),
    }


def require_other(target: Path, inputs: Iterable[Path | None]) -> None:
    """Refuse, as a UsageError, to write a file in the place of one that it is made from."""
    for path in inputs:
        if path is not None and path.exists() and target.exists() and target.samefile(path):
            raise UsageError(f"{path}: the output would overwrite it; choose another folder")


def output_path(source: Path, folder: Path) -> Path:
    """Where the result of an input goes: under `result_name` in the output folder, which is made.

    Raises:
        UsageError: that, or a file beside it, could be the input or another one; or the name is too long.
        IahvaeError: the folder cannot be made.
    """
    make_folder(folder)
    target = folder / result_name(source)
    require_fitting(target)
    if folder.resolve() in {source.resolve(), source.parent.resolve()} or (
        target.exists() and source.exists() and target.samefile(source)
    ):
        raise UsageError(f"{source}: the output could overwrite an input; choose another folder")
    return target


def beside(result: Path, kind: str, figure_format: str = "png") -> Path:
    """Where a file beside a result goes, by its kind: "picture", "report", "plan" ... (`_ENDS`).

    A stem that is too long for them is cut. The first three are of the format.
    """
    end = _ENDS[kind].format(format=figure_format)
    return result.with_name(shortened(result.stem, longest_name(result.parent) - len(end)) + end)


def files_beside(result: Path) -> set[Path]:
    """Figures, and files written on request, that belong to a result, by the options in its record."""
    options = stored_options(result)
    figure_format = options.get("figure_format", "png")
    if not options or figure_format not in FORMATS:
        return set()
    asked = [kind for option, kinds in _OPTIONAL.items() if options.get(option) for kind in kinds]
    files = {beside(result, kind, figure_format) for kind in ("picture", *asked)}
    return files | {slices for file in files for slices in file.glob(SLICES)}


def remove(paths: set[Path]) -> None:
    """Remove files of an earlier run, some of which may be gone already, and folders that they leave empty."""
    for path in sorted(paths, reverse=True):
        try:
            if not path.name.endswith(_ENDS["dicom"]):
                path.unlink(missing_ok=True)
            elif path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        except OSError as error:
            raise IahvaeError(
                f"{path}: of an earlier run, cannot be removed: {reason(error)}; remove it"
            ) from error
