"""Frozen data that every other room works on."""
