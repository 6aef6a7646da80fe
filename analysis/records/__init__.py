"""A sweep's records as tables and arrays. It judges nothing."""
