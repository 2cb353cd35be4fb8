"""`python -m mri_iahvae`."""

from mri_iahvae.cli import main

main(prog_name="mri-iahvae")
