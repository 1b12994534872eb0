"""A fuzz harness: seeded hostile input of every kind, and what must hold for each.

`python -m fuzz` (`make fuzz`) is the long run, `tests/test_fuzz.py` the short one. Every case is
made from a seed, its kind and its number alone, so that a failure can be had again.
"""
