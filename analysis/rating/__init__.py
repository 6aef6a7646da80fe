"""A blinded rating of two systems by people: the sheet, and what the filled sheets say."""
