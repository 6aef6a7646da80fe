"""What leaves a sweep for others: the model card of its best adapter. It never imports ray."""
