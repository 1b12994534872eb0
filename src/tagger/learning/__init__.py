"""Fitting to a corpus and labels of the user's own.

What is fitted here is loaded and applied by `methods.rank`.
"""
