"""Writing texts with a model: the prompt is read at once, then token by token; it never imports trial or an engine."""
