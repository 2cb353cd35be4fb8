"""What a user asks for of a scan, beside the settings of the inference. Without torch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from mri_iahvae.errors import UsageError
from mri_iahvae.files import name_and_digest, name_as_text
from mri_iahvae.inference.rivals.registry import require_rivals
from mri_iahvae.inference.settings import InferenceSettings
from mri_iahvae.results.dicom import require_dicom
from mri_iahvae.results.panels import FigureOptions
from mri_iahvae.scans.formats.bart import bart_name
from mri_iahvae.scans.reader import AS_STORED, Reading
from mri_iahvae.scans.scan import Scan
from mri_iahvae.scans.undersampling import OWN_SAMPLING, Sampling

CoilCombine = Literal["rss", "sensitivity"]
COIL_COMBINE: tuple[CoilCombine, ...] = get_args(CoilCombine)


@dataclass(frozen=True)
class Outputs:
    """What is written beside the HDF5 file, and the size of the images.

    Attributes:
        nifti: write `<stem>.nii.gz` too, and `<stem>.json` with what is known of it.
        dicom: write the folder `<stem>_dicom` too, a file for each slice.
        gif: write `<stem>_scales.gif` too, coarse to fine.
        slices: those in the figure and the GIF; none takes the middle one.
        write_kspace: write completed k-space too, in the shape and units of the input, with its header and attributes.
        write_sensitivities: write the sensitivities of several coils too, of the coils as the input has them.
        image_size: (height, width) of the image; None takes that of the reference, else the header's.
        figure: how the figure looks.
    """

    nifti: bool = False
    dicom: bool = False
    gif: bool = False
    slices: tuple[int, ...] = ()
    write_kspace: bool = False
    write_sensitivities: bool = False
    image_size: tuple[int, int] | None = None
    figure: FigureOptions = field(default_factory=FigureOptions)

    def __post_init__(self) -> None:
        """Refuse what needs a package that is missing.

        Raises:
            UsageError: it is.
        """
        if self.dicom:
            require_dicom()

    def shown(self, scan: Scan) -> tuple[int, ...]:
        """Numbers of the slices to show.

        Raises:
            UsageError: the scan has no such slice.
        """
        for number in self.slices:
            if not 0 <= number < scan.slices:
                raise UsageError(
                    f"--slices {number}: {scan.path} has slices 0 to {scan.slices - 1}; choose among them"
                )
        return self.slices or (scan.slices // 2,)


PLAIN = Outputs()


@dataclass(frozen=True)
class Request:
    """What is asked of a scan, beside the settings of the inference.

    Attributes:
        task: "reconstruct" or "denoise". `denoise` takes the noise level into account; `reconstruct` does so with
            "soft" data consistency, of several coils, and where the noise is over 0.3 of the slice's RMS.
        reading: how the file is read.
        sampling: which of the file's bins count as measured.
        up_to: use the measured bins of block B_s only.
        sigma: noise level per real and imaginary part, in the units of the file. None takes `relative_sigma`.
        relative_sigma: noise level as a multiple of the slice's RMS. None takes the file's `noise_sigma`, or else
            an estimate.
        keep_samples: write every posterior sample too.
        batch: slices at a time; None is what suits the device.
        outputs: what is written beside the HDF5 file.
        coil_combine: of several coils, see `reconstruct_coils`; None is "rss".
        sensitivities: file of their sensitivities (`scans.coil_maps`); None takes those of the calibration region.
        noise_scan: file of samples of noise, by which they are prewhitened (`scans.noise_scan`).
        compare: methods to compare with by name (`inference.rivals.registry`), each with its weight, None for the
            default, in the order of the figure.
    """

    task: Literal["reconstruct", "denoise"] = "reconstruct"
    sampling: Sampling = OWN_SAMPLING
    reading: Reading = AS_STORED
    up_to: int | None = None
    sigma: float | None = None
    relative_sigma: float | None = None
    keep_samples: bool = False
    batch: int | None = None
    outputs: Outputs = PLAIN
    coil_combine: CoilCombine | None = None
    sensitivities: Path | None = None
    noise_scan: Path | None = None
    compare: Mapping[str, float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse two noise levels, and comparisons that cannot be.

        Raises:
            UsageError: there are two, or as `require_rivals`.
        """
        require_rivals(self.compare)
        if self.sigma is not None and self.relative_sigma is not None:
            raise UsageError("give --sigma or --relative-sigma, not both")

    @property
    def combine(self) -> CoilCombine:
        """How coil images are combined."""
        return self.coil_combine or "rss"

    def options(self, checkpoint: str | Path, settings: InferenceSettings) -> dict[str, Any]:
        """What decides the result and its figure by the names of options, defaults filled in; plain JSON values."""
        levels = {"sigma": self.sigma, "relative_sigma": self.relative_sigma}
        limit = {"up_to": f"{self.up_to}x{self.up_to}" if self.up_to else None}
        files = {"sensitivities": self.sensitivities, "noise_scan": self.noise_scan}
        return {
            "checkpoint": name_as_text(Path(checkpoint)),
            **asdict(self.reading),
            **self.sampling.to_json(),
            **settings.in_effect(),
            **{name: file and name_and_digest(bart_name(file)) for name, file in files.items()},
            **(levels if self.task == "denoise" else limit),
            **self.outputs.figure.to_json(),
            "compare": dict(self.compare),
        }

    def extras(self) -> dict[str, Any]:
        """What else is written, and how the image is, by the names of options; plain JSON values."""
        outputs, size = self.outputs, self.outputs.image_size
        names = "nifti", "dicom", "gif", "write_kspace", "write_sensitivities"
        return {
            "keep_samples": self.keep_samples,
            **{name: getattr(outputs, name) for name in names},
            "coil_combine": self.coil_combine,
            "image_size": size and "{}x{}".format(*size),
        }
