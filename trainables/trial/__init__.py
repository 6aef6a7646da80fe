"""One trial from what its record holds to its result, whatever engine runs it. It imports no engine."""
