"""Which configuration is chosen, and its paired differences from the others; it never imports texts or findings."""
