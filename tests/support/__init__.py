"""What tests share: tiny models, fake servers and models, hostile inputs."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The checkout."""
