"""How numbers, sizes, columns and lines are written, for people and for programs; it imports no other room."""
