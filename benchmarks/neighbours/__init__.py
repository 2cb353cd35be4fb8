"""Experiments on neighbouring methods; what each needs is in its docstring."""
