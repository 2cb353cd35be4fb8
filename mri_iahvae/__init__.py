"""MRI reconstruction with a learned generative prior: the Iterative Amortized Hierarchical VAE (IA-HVAE).

`mri_iahvae.reconstruct` and `mri_iahvae.denoise` are the Python API; the command line does nothing that they
and the functions of `mri_iahvae.tasks` cannot.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mri_iahvae.tasks.denoise import denoise as denoise
    from mri_iahvae.tasks.reconstruct import reconstruct as reconstruct

__version__ = "0.1.0"
__all__ = ["__version__", "denoise", "reconstruct"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
    """Import the API when it is asked for: the command line's help must not load torch."""
    if name == "reconstruct":
        from mri_iahvae.tasks.reconstruct import reconstruct  # noqa: PLC0415

        return reconstruct
    if name == "denoise":
        from mri_iahvae.tasks.denoise import denoise  # noqa: PLC0415

        return denoise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
