"""What a comparison allows one to say: baselines, effects, winner, searches, several sweeps. It draws nothing."""
