"""One trial, from its configuration to its result; torch is imported in this package alone."""
