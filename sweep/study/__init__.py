"""The Optuna study of a search, a view of the records: what has been tried, and what to try next (no ray)."""
