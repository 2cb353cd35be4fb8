"""MRI reconstruction with a learned generative prior: the Iterative Amortized Hierarchical VAE (IA-HVAE).

`dir(mri_iahvae)` is the Python API: functions and classes on arrays; the command line does nothing that they and the
functions of `mri_iahvae.tasks` cannot. `mri_iahvae.adapters` fits the prior to other libraries.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mri_iahvae.errors import IahvaeError as IahvaeError
    from mri_iahvae.errors import IahvaeWarning as IahvaeWarning
    from mri_iahvae.kspace.masks import draw_mask as draw_mask
    from mri_iahvae.tasks.evaluate import evaluate as evaluate
    from mri_iahvae.tasks.inspect import inspect as inspect
    from mri_iahvae.tasks.plan import plan as plan
    from mri_iahvae.tasks.prior import Prior as Prior
    from mri_iahvae.tasks.reconstruct import Reconstructor as Reconstructor
    from mri_iahvae.tasks.reconstruct import denoise as denoise
    from mri_iahvae.tasks.reconstruct import reconstruct as reconstruct
    from mri_iahvae.tasks.sample import sample as sample

__version__ = "0.1.0"

_MODULES = {
    "IahvaeError": "errors",
    "IahvaeWarning": "errors",
    "Prior": "tasks.prior",
    "Reconstructor": "tasks.reconstruct",
    "denoise": "tasks.reconstruct",
    "draw_mask": "kspace.masks",
    "evaluate": "tasks.evaluate",
    "inspect": "tasks.inspect",
    "plan": "tasks.plan",
    "reconstruct": "tasks.reconstruct",
    "sample": "tasks.sample",
}
__all__ = ["__version__", *_MODULES]  # noqa: PLE0604 - names, all of them


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
    """Import the API when it is asked for: the command line's help must not load torch."""
    if name in _MODULES:
        return getattr(import_module(f"mri_iahvae.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
