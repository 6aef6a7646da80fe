"""Caches of keys and values for decoding, and attention over them compiled for a CPU; it never imports modeling."""
