"""From an example to rows of token ids, as whoever serves the model gets them; it never imports a model."""
