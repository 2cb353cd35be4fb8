"""What `reconstruct` and `denoise` have in common: their options, and the way from options to results."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from mri_iahvae.cli.options import (
    EXISTING,
    MAX_SLICES,
    Decorator,
    FiniteRange,
    batch_option,
    checkpoint_option,
    deterministic_option,
    device_option,
    drawn_options,
    fields_of,
    image_size,
    json_option,
    output_option,
    panel_list,
    quiet_option,
    reading_options,
    section,
    seed_option,
    slice_list,
    steps,
    zoom_box,
)
from mri_iahvae.cli.parts import Part, local_number, part, part_of_environment
from mri_iahvae.cli.runs import Run, run_files
from mri_iahvae.cores import limit_threads
from mri_iahvae.errors import UsageError
from mri_iahvae.files import gone_if_empty

if TYPE_CHECKING:
    from mri_iahvae.inference.settings import InferenceSettings

# Most have no default here: an option that was not given must differ from one that was given and does not apply.
# Each has the name of the field that it sets, of `Sampling`, `Reading`, `Outputs`, `FigureOptions`, `Request` or
# `InferenceSettings`.
# fmt: off
inputs_argument = click.argument("inputs", metavar="INPUT...", nargs=-1, required=True, type=EXISTING)

sampling_options = (
    *drawn_options,
    click.option("--mask", "mask_path", metavar="FILE", type=EXISTING,
        help="Use only the bins of this mask: npy, npz, HDF5 (`mask`) or BART's cfl, of 0 and 1, (width,) or (height,"
        " width), or one for each slice."),
)
_quality = section("Quality and time",
    click.option("--quality", type=click.Choice(["fast", "default", "best"]), show_default="default",
        help="fast: the guide alone, once. default: averaged over symmetric copies, and refined with the prior. best:"
        " over twice as many copies, in five times as many steps."),
    click.option("--samples", type=click.IntRange(0, 10_000), metavar="K", show_default="0",
        help="Draw K posterior samples, and return their mean and standard deviation. Without a guide each takes as"
        " long as a reconstruction."),
    seed_option,
)
_more_results = (
    click.option("--skip-existing", is_flag=True,
        help="Leave out inputs whose result exists. One that was made with other options is named."),
    click.option("--nifti", is_flag=True,
        help="Write the image as <stem>.nii.gz too, and <stem>.json with fields of BIDS."),
    click.option("--dicom", is_flag=True,
        help="Write the image as DICOM too, a file for each slice in <stem>_dicom (needs pydicom, the extra dicom)."),
    click.option("--write-kspace", is_flag=True,
        help="Write completed k-space too (`kspace`), shaped as the input's, with its header and attributes."),
    click.option("--gif", is_flag=True,
        help="Write <stem>_scales.gif too: the image from the coarsest scale to the finest."),
    click.option("--image-size", type=image_size, metavar="HxW",
        show_default="of the reference, else the header's reconSpace, else of k-space",
        help="Crop the image to this size. Rows beyond it are taken as readout oversampling."),
    json_option,
    quiet_option,
)
_coils = section("Several coils",
    click.option("--coil-combine", type=click.Choice(["rss", "sensitivity"]), show_default="rss",
        help="How coil images are combined: root sum of squares, or weighted by the coils' sensitivities."),
    click.option("--sensitivities", metavar="FILE", type=EXISTING, show_default="by ESPIRiT",
        help="Sensitivities of the coils: npy, HDF5 (`sensitivities`) or BART's cfl, (coils, height, width), or one set"
        " for each slice."),
    click.option("--write-sensitivities", is_flag=True, help="Write the sensitivities too (`sensitivities`)."),
    click.option("--noise-scan", metavar="FILE", type=EXISTING,
        help="Prewhiten the coils by samples of their noise, whose level is then known: npy, HDF5 (`noise`) or cfl,"
        " (coils, samples) or (..., coils, height, width); or ISMRMRD noise lines."),
)
_figure = section("Figure",
    click.option("--slices", type=slice_list, metavar="LIST", show_default="the middle one",
        help=f"Slices in the figure and the GIF, such as 3,10,20 or 0-4. At most {MAX_SLICES}; the first is 0."),
    click.option("--panels", type=panel_list, metavar="NAME,...", show_default="all that there are",
        help="Panels of the figure, in this order: reference, zero-filled, reconstruction, deviation,"
        " zero-filled-error, error, removed, expected-error, reference-kspace, measured-kspace, completed-kspace; of"
        " reconstruct --compare also tv, wavelet, sense, tv-error, wavelet-error, sense-error."),
    click.option("--zoom", type=zoom_box, metavar="Y,X,SIZE",
        help="Mark the box of SIZE x SIZE pixels from row Y and column X on, and enlarge it in further panels."),
    click.option("--window", type=FiniteRange(0, 100, min_open=True), metavar="PERCENT", show_default="100",
        help="White is this percentile of the reference, without one of the reconstruction."),
    click.option("--error-factor", type=click.IntRange(1, 10_000), metavar="N",
        show_default="by each slice",
        help="Brighten errors and standard deviations by N, for figures that are compared."),
    click.option("--contact-sheet", is_flag=True,
        help="Draw the slices of the volume, 64 at most, on a sheet <stem>_slices.png too."),
    click.option("--figure-format", type=click.Choice(["png", "pdf", "svg"]), show_default="png",
        help="Of the figure and the contact sheet."),
)
_machine = section("Model and machine",
    checkpoint_option,
    device_option,
    batch_option,
    click.option("--part", type=part, metavar="I/N", show_default="set by torchrun or srun, else 1/1",
        help="Process only the I-th of N parts of the list of files. Several machines share a list in this way."),
)
_expert = (
    click.option("--method", type=click.Choice(["guide", "amortized", "hybrid", "iterative", "paper"]),
        show_default="hybrid",
        help="guide: the unrolled network alone. amortized: guide, encoder and decoder in one pass. hybrid: refined"
        " from there. iterative: refined from the prior, without guide. paper: Algorithm 1 as printed."),
    click.option("--steps", type=steps, metavar="N|auto", show_default="3",
        help="Refinement steps per scale; auto stops a scale when it has converged."),
    click.option("--symmetries", type=click.IntRange(1, 8), metavar="N", show_default="4",
        help="Average the guide's estimates of N flipped or phase-turned copies of the measurement."),
    click.option("--temperature", type=FiniteRange(min=0), metavar="T", show_default="1",
        help="Factor on the standard deviation of samples."),
    click.option("--keep-samples", is_flag=True, help="Write every sample too (`samples`, complex)."),
    click.option("--precision", type=click.Choice(["auto", "float32", "bfloat16"]), show_default="auto",
        help="Precision of the convolutions. auto: bfloat16 where the processor has it, else float32."),
    click.option("--compile", is_flag=True,
        help="Compile the networks with torch.compile: minutes at first, then faster. CUDA only."),
    deterministic_option,
    # Not in the help: scripts of earlier versions switch joint refinement off with it, which there is no more.
    click.option("--across-steps", type=click.IntRange(0, 0), hidden=True, expose_value=False),
)
# fmt: on


def common_options(folder: str, consistency: str) -> Decorator:
    """Decorator: the options that both commands have, with their defaults of `--output` and `--data-consistency`."""
    data_consistency = click.option(
        "--data-consistency",
        type=click.Choice(["hard", "soft", "none"]),
        default=consistency,
        show_default=True,
        help="What measured bins become. hard: the data. soft: their posterior mean, given the noise level. none: the"
        " model's bins.",
    )
    reading = section("Reading", *reading_options)
    results = section("Results", output_option(folder), *_more_results)
    expert = section("Expert", data_consistency, *_expert)
    return lambda command: _quality(results(_coils(_figure(_machine(reading(expert(command)))))))


def run(
    task: Literal["reconstruct", "denoise"],
    *,
    inputs: tuple[Path, ...],
    output: Path,
    checkpoint: str,
    device: str,
    deterministic: bool,
    part: Part | None,
    skip_existing: bool,
    as_json: bool,
    quiet: bool,
    up_to: str | None = None,
    **options: Any,  # noqa: ANN401 - fields of the classes named above
) -> None:
    """Run all files of a command, with the exit codes of `runs.run_files`."""
    from mri_iahvae.kspace.scales import parse_scale
    from mri_iahvae.model.checkpoint_config import find_checkpoint, model_config
    from mri_iahvae.pipeline.request import Outputs, Request
    from mri_iahvae.results.panels import FigureOptions
    from mri_iahvae.scans.reader import Reading
    from mri_iahvae.scans.undersampling import Sampling

    given = {name: value for name, value in options.items() if value is not None}
    settings = _settings(given)
    size = model_config(find_checkpoint(checkpoint)).size
    request = Request(
        task,
        sampling=Sampling(**fields_of(Sampling, given)),
        reading=Reading(**fields_of(Reading, given)),
        up_to=None if up_to is None else parse_scale(up_to, size),
        outputs=Outputs(figure=FigureOptions(**fields_of(FigureOptions, given)), **fields_of(Outputs, given)),
        **fields_of(Request, given),
    )

    def load() -> Run:
        limit_threads()
        from mri_iahvae.pipeline.devices import compile_networks, compute_deterministically, find_device
        from mri_iahvae.pipeline.loaded import LoadedModel
        from mri_iahvae.pipeline.stream import run_file

        where = find_device(device, local_number(os.environ))
        if deterministic:
            compute_deterministically(where)
        loaded = LoadedModel.load(checkpoint, where)
        if settings.compile:
            compile_networks(loaded.model)
        return lambda path, target, start: run_file(loaded, path, target, request, settings, start)

    part = part or part_of_environment(os.environ)
    asked = request.options(checkpoint, settings)
    asked |= {name: value for name, value in request.extras().items() if value}  # others may be there
    how = {"skip_existing": skip_existing, "as_json": as_json, "quiet": quiet}
    with gone_if_empty(output):
        run_files(inputs, output, load, part, **how, asked=asked)


def _settings(given: dict[str, Any]) -> "InferenceSettings":
    """Settings by the options that were given; one that the method would ignore is an error."""
    from mri_iahvae.inference.settings import IDLE, QUALITY, InferenceSettings, inference_settings

    names = [name for name in ("quality", *InferenceSettings.__dataclass_fields__) if name in given]
    values = {name: given[name] for name in names}
    quality = values.get("quality", "default")
    by_quality = QUALITY[quality].get("method")
    method, source = (
        (by_quality, f"--quality {quality}") if by_quality else (values.get("method"), "--method {}")
    )
    for name in IDLE.get(method or "", ()):
        if name in values:
            raise UsageError(
                f"--{name.replace('_', '-')} does not apply to {source.format(method)}: leave one out"
            )
    if not values.get("samples"):
        for name in ("temperature", "keep_samples"):
            if given.get(name) not in (None, False):
                raise UsageError(f"--{name.replace('_', '-')} needs --samples")
    return inference_settings(**values)
