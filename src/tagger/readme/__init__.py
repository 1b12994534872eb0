"""From the bytes of a README to the text that a model reads.

Decoding, markup to plain text with limits, and the sources that READMEs come from.
"""
