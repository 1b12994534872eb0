"""Ways of finding tags, each behind the protocol `base.Method`.

A method sees READMEs and gives rankings, and knows nothing of files of READMEs or of output.
"""
