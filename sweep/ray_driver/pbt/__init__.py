"""Population-based training by Ray Tune over light trials; a reader who does not use it can skip it."""
