"""From files, folders and the hub to the examples of a corpus; it never imports torch, a tokenizer or a model."""
