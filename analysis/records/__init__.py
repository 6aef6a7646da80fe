"""Reading a sweep's records as tables and arrays of scores; it never imports comparison, texts or findings."""
