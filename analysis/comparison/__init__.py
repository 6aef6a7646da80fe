"""What each configuration scores, which is chosen, and its paired differences. It imports no texts and no findings."""
