"""The Ray actor around an engine and the slots that it gives to trials; it never imports ray_driver."""
