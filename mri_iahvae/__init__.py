"""MRI reconstruction with a learned generative prior: the Iterative Amortized Hierarchical VAE (IA-HVAE).

`mri_iahvae.reconstruct`, `denoise`, `inspect`, `sample` and `evaluate` are the Python API; the command line does
nothing that they and the functions of `mri_iahvae.tasks` cannot.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mri_iahvae.tasks.denoise import denoise as denoise
    from mri_iahvae.tasks.evaluate import evaluate as evaluate
    from mri_iahvae.tasks.inspect import inspect as inspect
    from mri_iahvae.tasks.reconstruct import reconstruct as reconstruct
    from mri_iahvae.tasks.sample import sample as sample

__version__ = "0.1.0"
__all__ = ["__version__", "denoise", "evaluate", "inspect", "reconstruct", "sample"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
    """Import the API when it is asked for: the command line's help must not load torch."""
    if name in __all__:
        return getattr(import_module(f"mri_iahvae.tasks.{name}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
