"""From a request to a sweep ready to run: all of it is judged before any of it is written; it never imports ray."""
