"""Intervals, tests and their corrections over plain arrays. It knows no sweep and no text."""
