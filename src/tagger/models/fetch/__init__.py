"""How the models of the catalogue get onto this machine.

Download by parts, digests, conversion to safetensors, and the folder that keeps them.
"""
