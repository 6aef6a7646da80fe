"""Base models as engines keep them: loaded, probed, dropped; it never imports trial or an engine."""
