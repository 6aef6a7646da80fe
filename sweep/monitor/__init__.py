"""What is seen of a sweep while it runs: progress, engines' states, TensorBoard; it never imports ray."""
