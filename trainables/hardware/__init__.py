"""What the machine offers: processor, threads, memory of the device; it imports no other room."""
