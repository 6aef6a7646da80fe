"""Scores of texts by ROUGE, chrF, BLEU, BERTScore or any metric of `evaluate`; it never imports modeling."""
