"""Key-value caches that decoding writes into, and compiled attention over them on a CPU. It never imports a model."""
