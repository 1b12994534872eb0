"""A curator's review of a batch's output: what is suggested, what was decided, what is learned."""
