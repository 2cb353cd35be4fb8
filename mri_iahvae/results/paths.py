"""Where the result of an input file goes, and the files that are written beside it."""

import re
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
    "report": "_report.json",
    "plan": "_plan.npy",
    "plan_picture": "_plan.png",
}
_OPTIONAL = {kind: kind for kind in ("contact_sheet", "gif", "nifti")} | {
    "cine": "series",
    "profile": "series",
}
"""Kinds of files that are written on request, with the option that asks for them."""


def result_name(source: Path) -> str:
    """Name of the result of an input file: the same for HDF5, as fastMRI wants it, and `<stem>.h5` for others."""
    return _OTHER_FORMATS.sub(".h5", source.name)


def output_path(source: Path, folder: Path) -> Path:
    """Where the result of an input file goes: under `result_name` in the output folder, which is made.

    Raises:
        UsageError: that, or a file beside it, could be the input or another one; or the name is too long.
        IahvaeError: the folder cannot be made.
    """
    make_folder(folder)
    target = folder / result_name(source)
    require_fitting(target)
    if folder.resolve() == source.parent.resolve() or (
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
    kinds = ("picture", *(kind for kind, option in _OPTIONAL.items() if options.get(option)))
    return {beside(result, kind, figure_format) for kind in kinds}


def remove(paths: set[Path]) -> None:
    """Remove files of an earlier run, some of which may be gone already."""
    for path in sorted(paths):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise IahvaeError(
                f"{path}: of an earlier run, cannot be removed: {reason(error)}; remove it"
            ) from error
