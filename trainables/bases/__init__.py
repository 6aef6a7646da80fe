"""Base models as an engine keeps them: loaded, probed for what they allow, and dropped again. It knows no trial."""
