"""What a trial leaves on disk: atomic files, journals, checkpoints, damage; it never imports data or a model."""
