"""Measurements of quality and speed: `python -m benchmarks.quality.compare --help`, from the repository's root."""
