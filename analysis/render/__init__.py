"""Writing findings for the terminal, as Markdown, LaTeX, CSV, JSON and the page; it computes none of them itself."""
