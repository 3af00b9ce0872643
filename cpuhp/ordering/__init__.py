"""Searches over orderings: why each part is there, where a step may go, what may overlap."""
