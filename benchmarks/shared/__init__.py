"""Tasks, files and stored rows that several benchmarks use."""
