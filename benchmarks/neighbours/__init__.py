"""Experiments on neighbouring methods; nothing here is part of the package."""
