"""What a trial leaves on disk: atomic files, journals, records, checkpoints, and their damage. No model, no data."""
