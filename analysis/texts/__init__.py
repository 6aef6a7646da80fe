"""What generated texts are like beside their sources and references, whatever they score; it never imports findings."""
