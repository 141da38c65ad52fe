"""Rank and determinant of integer matrices."""
