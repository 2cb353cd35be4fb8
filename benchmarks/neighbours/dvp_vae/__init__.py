"""DVP-VAE: a hierarchical VAE with a diffusion prior on a low-frequency pseudo-input (arXiv 2412.01373)."""
