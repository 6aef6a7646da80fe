"""What the generated texts are like, whatever their score. It draws no conclusion about configurations."""
