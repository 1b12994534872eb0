"""Replies from a server that speaks OpenAI's chat completions.

The method, one server and its dialect, and an HTTP client with limits on time and size.
"""
