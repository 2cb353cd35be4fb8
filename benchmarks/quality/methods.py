"""The methods that quality compares: each turns a measurement into complex images, whatever it is made of."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.quality.classical import CLASSICAL
from benchmarks.shared.tasks import Measurement, Task
from mri_iahvae.inference.settings import GUIDED, InferenceSettings, inference_settings
from mri_iahvae.kspace.fft import ifft2c
from mri_iahvae.pipeline.loaded import LoadedModel
from mri_iahvae.pipeline.volume import reconstruct_volume

Images = NDArray[np.complex64]
"""(slices, N, N)."""

OURS = {
    "fast": inference_settings("fast"),
    "guide": InferenceSettings("guide"),
    "default": InferenceSettings(),
    "prior": InferenceSettings("iterative", 10),
    "fast bfloat16": inference_settings("fast", precision="bfloat16"),
    "amortized": InferenceSettings("amortized"),
    **{
        f"{method} N={n}": InferenceSettings(method, n)
        for method in ("hybrid", "iterative", "paper")
        for n in (5, 10, 15, 25, 50)
    },
    "hybrid N=auto": InferenceSettings("hybrid", "auto"),
    "hybrid N=5 bfloat16": InferenceSettings("hybrid", 5, precision="bfloat16"),
    **{f"adam N={n}": InferenceSettings("hybrid", n, optimizer="adam") for n in (10, 50)},
}
DEFAULT = ("fast", "guide", "default")
"""Of ours, what the table shows, with the prior alone where a centred block is measured."""


@dataclass(frozen=True)
class Method:
    """One method, ready to run on one task.

    Attributes:
        name: of its row.
        identity: all that decides its result beside the measurement: settings, weights.
        run: a measurement to complex images.
    """

    name: str
    identity: Mapping[str, Any]
    run: Callable[[Measurement], Images]


@dataclass(frozen=True)
class Tools:
    """What the methods work with.

    Attributes:
        ours: our model and its guide.
        weights: regularisation weights of the classical methods by task and method, `classical.json`.
        unet: `unet.UnetBaseline`; None where it is of another grid.
        unet_digest: SHA-256 of its weights.
    """

    ours: LoadedModel
    weights: Mapping[str, Mapping[str, float]]
    unet: Any = None
    unet_digest: str = ""

    @classmethod
    def load(cls, checkpoint: str, weights: Path, unet: Path) -> "Tools":
        """Load our model, the weights that `classical.py` found, and the U-Net, where it is of the model's grid."""
        from benchmarks.quality.unet import UnetBaseline  # noqa: PLC0415 - fastmri takes seconds to import

        ours = LoadedModel.load(checkpoint, torch.device("cpu"))
        tools = cls(ours, json.loads(weights.read_text())["weights"])
        network = UnetBaseline.load(unet)
        if network.power.shape[-1] != ours.model.size:
            return tools
        return replace(tools, unet=network, unet_digest=hashlib.sha256(unet.read_bytes()).hexdigest())


def methods(task: Task, tools: Tools, names: Sequence[str] = ()) -> list[Method]:
    """The methods of a task, in the order of the table.

    Args:
        task: the task.
        tools: what the methods work with.
        names: these of ours, and no others.
    """
    if names:
        return [_ours(tools, name) for name in names]
    spoilt = task.undersampled or task.noise > 0
    found = [Method("noisy" if task.noise else "zero-filled", {}, _untreated)] if spoilt else []
    for name, method in CLASSICAL.items():
        weight = tools.weights.get(task.name, {}).get(name)
        if method.treats(task) and method.available and not (method.tuned and weight is None):
            run = partial(method.reconstruct, weight=weight)
            found.append(Method(name, {"weight": weight, "version": method.version}, run))
    if tools.unet is not None and spoilt:
        found.append(Method("U-Net", {"weights": tools.unet_digest}, partial(_unet, tools.unet)))
    shown = (*DEFAULT, "prior") if task.up_to else DEFAULT
    return found + [_ours(tools, name) for name in shown]


def _untreated(measurement: Measurement) -> Images:
    """The inverse FFT of what was measured."""
    return ifft2c(torch.from_numpy(measurement.kspace)).numpy()


def _unet(network: Any, measurement: Measurement) -> Images:  # noqa: ANN401 - see Tools
    kspace, mask = torch.from_numpy(measurement.kspace), torch.from_numpy(measurement.mask)
    return measurement.consistent(network.reconstruct(kspace, mask[None]).numpy())


def identity(settings: InferenceSettings) -> dict[str, Any]:
    """What is not as usual: a setting that is new since leaves earlier rows as they are."""
    usual = asdict(InferenceSettings())
    return {key: value for key, value in asdict(settings).items() if value != usual[key]}


def _ours(tools: Tools, name: str) -> Method:
    settings = OURS[name]

    def run(measurement: Measurement) -> Images:
        chosen = replace(settings, data_consistency=measurement.task.consistency)
        given = tools.ours.model, measurement.kspace, measurement.mask, chosen
        return reconstruct_volume(*given, guide=tools.ours.guide, noise_sigma=measurement.sigma).image

    weights = {"model": tools.ours.sha256}
    if settings.method in GUIDED:
        weights["guide"] = tools.ours.guide_sha256 or ""
    return Method(name, {**weights, **identity(settings)}, run)
