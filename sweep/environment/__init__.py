"""The machine and process around a sweep: devices, lease, signals, secrets, versions; it imports no other room."""
