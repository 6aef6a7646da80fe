"""What a search allows one to say: which axis matters, what more points bring, where its best lies."""
