"""Policies in Gymnasium: returns, scores, intervals, comparisons, films."""
