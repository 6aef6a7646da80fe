"""Findings as terminal tables, Markdown, LaTeX, CSV, JSON and the page. It computes no finding."""
