"""From a request to a sweep that is ready to run: all is judged, then all is written. It never imports ray."""
