"""How a value, a column and a line are written, for people and for programs. It knows no sweep."""
