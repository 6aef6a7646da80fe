"""Texts from a model: a prompt is read, then token by token is written. It never trains and writes no record."""
