"""The machine and process around a sweep: devices, lease, signals, variables, provenance. It imports no other room."""
