"""What lies in a model's folder: tensors, shapes, missing parts, fingerprint; it never imports data or modeling."""
