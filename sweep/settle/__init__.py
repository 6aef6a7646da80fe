"""Racing evaluation: what `--settle` asks for, and what is to be evaluated next; no Ray, no torch."""
