"""The same answers over HTTP and to agents.

READMEs and decisions, with bounds on everything that a client sends; the same tagger as MCP tools.
"""
