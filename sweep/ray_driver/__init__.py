"""One launch: Ray, an engine a device, Tune over light trials, and what to do when one dies; no room imports it."""
