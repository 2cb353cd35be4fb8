"""The model: configuration, encoder, ladder, heads, checkpoints."""
