"""The command line. Nothing heavy is imported here or in the command modules: their functions import it."""

import click

from mri_iahvae import __version__
from mri_iahvae.cli.group import LazyGroup

_COMMANDS = {
    "reconstruct": "Reconstruct undersampled scans.",
    "denoise": "Denoise scans, and complete undersampled ones.",
    "inspect": "Show what scans hold, and what is odd about them.",
    "evaluate": "Score reconstructions against their targets.",
    "sample": "Draw images from the prior.",
    "plan": "Plan which columns to measure next.",
    "train": "Train a model on fully sampled k-space.",
    "simulate": "Make scans from magnitude images.",
    "example": "Write an example scan.",
}


@click.group(
    cls=LazyGroup,
    entries=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
)
@click.version_option(__version__, prog_name="mri-iahvae")
def main() -> None:
    """MRI reconstruction with a learned generative prior, the Iterative Amortized Hierarchical VAE.

    \b
    Examples:
      mri-iahvae example scan.h5
      mri-iahvae reconstruct scan.h5 --up-to 32x32 -o reconstructions
      mri-iahvae COMMAND --help
    """
