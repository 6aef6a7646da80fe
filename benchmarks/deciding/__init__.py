"""The cost of a decision: what `python -m benchmarks.decision` is made of."""
