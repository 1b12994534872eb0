"""Replies that a local model writes.

Their schema, the grammar that enforces it, and reading them without trusting them.
"""
