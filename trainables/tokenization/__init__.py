"""From an example to token rows, as whoever serves the model gets them. It never imports torch or a model."""
