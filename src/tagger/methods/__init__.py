"""Ways of finding tags: each sees token ids and gives scored tags, and knows nothing of files."""
