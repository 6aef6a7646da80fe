"""What is seen of a sweep while it runs, read from its records: progress and TensorBoard. It never imports ray."""
