"""One launch: Ray, its engines, Tune over light trials, what is done when one dies. Only verbs import it."""
