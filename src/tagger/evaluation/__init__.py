"""How good the tags are, and why they were given.

Labels, measures, kept scores, the report, and explanations of single READMEs.
"""
