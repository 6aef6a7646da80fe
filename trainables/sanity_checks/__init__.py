"""Mistakes that a plan can make without being wrong, each a sentence. It refuses nothing, and loads no torch."""
