"""MRI reconstruction with a learned generative prior: the Iterative Amortized Hierarchical VAE (IA-HVAE)."""

__version__ = "0.1.0"
