"""IA-VAE: an encoder whose weights adapt to the instance (Pollastro et al., arXiv 2604.06796)."""
