"""What to try: one small file an experiment; it uses the configuration types of trainables alone."""
