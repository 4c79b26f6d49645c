"""What a data set holds, and what in it may go wrong."""
