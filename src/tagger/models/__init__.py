"""Chat models: which there are, how they get here, and how they are loaded.

A name becomes a `LanguageModel`: token ids in, hidden states and logits out.
"""
