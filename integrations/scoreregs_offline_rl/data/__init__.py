"""From any source to transitions: files, names, arrays, checks and scalings."""
