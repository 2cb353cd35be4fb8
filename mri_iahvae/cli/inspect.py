"""`mri-iahvae inspect`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mri_iahvae.cli.options import (
    EXISTING,
    SectionedCommand,
    checkpoint_option,
    json_option,
    reading_options,
    section,
)
from mri_iahvae.cli.runs import exit_on_failures
from mri_iahvae.errors import ScanError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mri_iahvae.tasks.inspect import Inspection

_SOURCES = {"file": "from the file's mask", "zeros": "inferred from exact zeros", "full": "no mask"}


@click.command(cls=SectionedCommand)
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True, type=EXISTING)
@checkpoint_option
@section("Reading", *reading_options)
@json_option
def inspect(inputs: tuple[Path, ...], checkpoint: str, as_json: bool, **reading: Any) -> None:  # noqa: ANN401
    """Show what scans hold, and what `reconstruct` would do with them.

    INPUT is a scan, or a folder of scans. Sizes, sampling, padding, header, noise level and reference are printed, and
    what the model would complete. Errors (the file cannot be used), warnings and notes say what to do. All slices are
    read. Nothing is written.

    \b
    Examples:
      mri-iahvae inspect scan.h5
      mri-iahvae inspect multicoil_test --json
    """
    from mri_iahvae.scans.listing import scan_files
    from mri_iahvae.scans.reader import Reading
    from mri_iahvae.tasks.inspect import inspect as inspect_file

    files = scan_files(inputs)
    found: list[dict[str, Any]] = []
    failures: list[dict[str, str]] = []
    for path in files:
        errors = []
        try:
            inspection = inspect_file(path, checkpoint, Reading(**reading))
        except ScanError as error:
            errors = [str(error)]
        else:
            errors = [f"{path}: {_sentence(error.text, error.fix)}" for error in inspection.errors]
            found.append(inspection.to_json())
            if not as_json:
                click.echo("\n".join(_lines(inspection)))
        failures += [{"input": str(path), "error": error} for error in errors[:1]]
        if errors and len(files) > 1:
            click.echo(f"Error: {errors[0]}", err=True)
    if as_json:
        click.echo(json.dumps({"files": found, "failed": failures}, indent=1))
    exit_on_failures([failure["error"] for failure in failures], len(files))


def _lines(inspection: "Inspection") -> "Iterator[str]":
    scan = inspection.scan
    coils = "single-coil" if scan.coils == 1 else f"{scan.coils} coils"
    slices = f"{scan.slices} slice{'s' * (scan.slices != 1)}"
    yield f"{scan.path}: {slices}, {scan.height} x {scan.width}, {coils}"
    facts = {
        "sampling": _sampling(inspection),
        "padding": _padding(inspection),
        "header": _header(inspection),
        "noise": _noise(inspection),
        "reference": scan.reference and f"{scan.reference[0]} x {scan.reference[1]}",
        "acquisition": scan.attributes.get("acquisition"),
        "reconstruct": _plan(inspection),
    }
    for name, text in facts.items():
        if text:
            yield f"  {name:12}{text}"
    for finding in inspection.findings:
        # Errors go to stderr; beside them what is merely good to know would distract.
        if finding.level == "warning" or (finding.level == "note" and not inspection.errors):
            yield f"  {finding.level}: {_sentence(finding.text, finding.fix)}"


def _sampling(inspection: "Inspection") -> str:
    pattern, source = inspection.pattern, _SOURCES[inspection.scan.mask_source]
    if pattern.true_acceleration is None:
        return f"nothing measured ({source})"
    if pattern.kind == "full":
        return f"everything measured ({source})"
    rate = f"true acceleration {pattern.true_acceleration:.2f}x ({source})"
    counts = f"{pattern.measured} of {pattern.total} {pattern.kind}"
    if pattern.kind == "bins":
        return f"{counts}, the central {pattern.centre} x {pattern.centre} whole: {rate}"
    return f"{counts}, {pattern.centre} around the centre ({pattern.centre / pattern.total:.3f}): {rate}"


def _padding(inspection: "Inspection") -> str:
    (start, stop), width = inspection.scan.acquired, inspection.scan.width
    return f"{start} columns left and {width - stop} right, never acquired" if stop - start < width else ""


def _header(inspection: "Inspection") -> str:
    header = inspection.scan.header
    if header is None:
        return ""
    words = [f"encoded {_size(header.encoded)}, image {_size(header.recon)}"]
    if header.pixel is not None:
        words.append(f"pixel {header.pixel[0]:.3g} x {header.pixel[1]:.3g} mm")
    if header.thickness is not None:
        words.append(f"slice {header.thickness:.3g} mm")
    return ", ".join(words)


def _noise(inspection: "Inspection") -> str:
    noise = inspection.noise
    if noise is None:
        return ""
    if noise.sigma == 0 and noise.source == "estimate":
        return "too little measured for an estimate"
    relative = "" if noise.relative is None else f", {noise.relative:.3g} of the RMS"
    return f"sigma {noise.sigma:.4g} per part{relative} ({noise.source})"


def _plan(inspection: "Inspection") -> str:
    plan, height = inspection.plan, inspection.scan.height
    words = []
    if plan.field[0] < height:
        words.append(f"readout oversampling {height / plan.field[0]:.3g}x removed: {_size(plan.field)}")
    beyond = "the guide" if plan.guided else "the coils" if inspection.scan.coils > 1 else ""
    beyond = "" if max(plan.field) <= plan.grid else beyond
    central = min(plan.grid, plan.field[0]), min(plan.grid, plan.field[1])
    words.append(
        f"the {plan.grid} x {plan.grid} model completes what is missing of the central {_size(central)}"
        + (f", {beyond} what is missing beyond" if beyond else "")
    )
    words.append(f"image {_size(plan.image)}")
    fractions = ", ".join(f"{fraction:.1%} {name}" for name, fraction in plan.fractions.items())
    bins = "k-space of the coils" if inspection.scan.coils > 1 else "k-space"
    return "; ".join(words) + f"; {bins} {fractions}"


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _sentence(text: str, fix: str) -> str:
    return f"{text}; {fix}" if fix else text
