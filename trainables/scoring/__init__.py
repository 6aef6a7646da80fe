"""Scores of texts: ROUGE, chrF, BERTScore, any metric of `evaluate`. It never runs the model that wrote them."""
