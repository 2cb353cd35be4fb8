"""Sphinx: python -m sphinx -W --keep-going docs OUTPUT makes the site (needs the `docs` extra)."""

from mri_iahvae import __version__

project = "mri-iahvae"
author = "the mri-iahvae developers"
copyright = author
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
exclude_patterns = ["cli", "README.md"]  # index.rst includes the latter

default_role = "literal"  # docstrings set code in single backticks
autodoc_member_order = "bysource"
smartquotes = False  # "8x8" is to be copied
autodoc_typehints = "none"  # docstrings give types with shapes and units
napoleon_attr_annotations = False
napoleon_use_ivar = True
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"mri-iahvae {release}"
html_copy_source = False
