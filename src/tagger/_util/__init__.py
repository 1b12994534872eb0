"""Helpers that know nothing of tags: digests, safe text, files, Arrow.

Nothing here imports another part of the package but its errors.
"""
