"""How good reconstructions are, beside other methods."""
