"""What a comparison allows one to conclude: effects, winner, searches, several sweeps; it never imports render."""
