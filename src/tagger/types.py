"""What is used when nothing else is asked for."""

DEFAULT_MODEL = "qwen2.5-coder-1.5b"

README_TOKENS = 768
"""The most that is read of a README: most of what it says is in its beginning."""
