"""This project and its peers on the same work: each module with a `main` is one command (python -m benchmarks.NAME)."""
