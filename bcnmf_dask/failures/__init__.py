"""Why something could not be read, in words: what a library raised -> what is wrong, and the repair."""
