"""Chat models: which there are, how they get here, and how they are loaded."""
