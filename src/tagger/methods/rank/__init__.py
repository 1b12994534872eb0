"""`rank`: every tag scored in one pass of a local model.

Tree, prior, mentions, search and calibration, from prompt to confidence.
"""
