"""Population-based training by Ray Tune, to be skipped by who does not use it; ray_driver loads it only when asked."""
