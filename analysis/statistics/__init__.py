"""Intervals, tests and corrections over plain arrays of numbers; it imports no other room."""
