"""The Ray actor around an engine, and the slots that it gives to trials. It imports nothing of the driver."""
