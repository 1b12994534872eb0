"""Many READMEs as one resumable run.

The pipeline from sources to rows, the ledger beside the output, and the output itself.
"""
