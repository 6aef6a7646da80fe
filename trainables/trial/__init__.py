"""One trial from its configuration to its result, whatever engine computes it; it never imports an engine."""
