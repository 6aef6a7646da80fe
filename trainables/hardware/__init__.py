"""What the machine has: processor, device memory, threads. It knows nothing of models, data or records."""
