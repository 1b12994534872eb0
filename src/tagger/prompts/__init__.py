"""What is said to the model.

Templates, those that ship among them, and a prompt in one model's tokens.
"""
