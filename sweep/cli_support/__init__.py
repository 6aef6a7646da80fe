"""What verbs share: options, how they print and fail, what they say while they work. It plans nothing, and no ray."""
