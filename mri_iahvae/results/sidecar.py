"""The JSON file beside a NIfTI volume, as BIDS has them beside images and derivatives."""

from pathlib import Path
from typing import Any

from mri_iahvae.files import name_as_text, write_json
from mri_iahvae.results.report import Record
from mri_iahvae.scans.protocol import protocol
from mri_iahvae.scans.scan import Scan

_STATED = (
    "task", "method", "data_consistency", "samples", "seed", "mask", "true_acceleration", "fraction_measured",
    "noise_sigma", "noise_source", "coils", "coil_combine", "model", "model_sha256", "guide_sha256",
)  # fmt: skip


def write_sidecar(path: Path, record: Record, scan: Scan) -> None:
    """Write what the header says of the measurement, and how the image was made of it.

    Names are those of BIDS 1.10 where it has one. `Reconstruction` is an object of our own, with fields of the report:
    BIDS's `ParallelReductionFactorInPlane` is of parallel imaging on a regular grid, which masks here need not be.
    """
    header = scan.source.header_text()
    content: dict[str, Any] = {} if header is None else dict(protocol(header))
    if scan.header is not None and scan.header.thickness is not None:
        content["SliceThickness"] = scan.header.thickness
    content |= {
        "Description": record.derivation(),
        "Sources": [name_as_text(scan.path)],
        "GeneratedBy": [{"Name": "mri-iahvae", "Version": record.settings["version"]}],
        "Reconstruction": {name: record.settings[name] for name in _STATED if name in record.settings},
    }
    write_json(path, content)
