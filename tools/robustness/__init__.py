"""Damaged files, huge files, and killed runs."""
