"""Blinded ratings by people: the sheet to fill in, and what filled sheets say; it never imports findings."""
