"""Files that are whole if they exist, and locks that die with their process."""
