"""What lies in a model's folder: weights, shapes, whether they are whole, a fingerprint. It never reads data."""
