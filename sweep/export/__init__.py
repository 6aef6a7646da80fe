"""What leaves a sweep for others: the model card beside an exported adapter; it never imports ray."""
