"""Optional packages: what needs which, and the extra of this package that installs them."""

from importlib.util import find_spec
from typing import Any

from tagger.errors import MissingPackageError

EXTRAS = {
    "endpoint": ("asking a server", {"openai": "openai", "json_repair": "json-repair"}),
    "generate": ("generating replies", {"llguidance": "llguidance", "json_repair": "json-repair"}),
    "learn": (
        "learning from labels",
        {"sklearn": "scikit-learn", "scipy": "scipy", "threadpoolctl": "threadpoolctl"},
    ),
    "mcp": ("serving agents", {"mcp": "mcp"}),
    "parquet": ("Parquet", {"pyarrow": "pyarrow"}),
    "review": (
        "reviewing in a browser",
        {
            "nh3": "nh3",
            "starlette": "starlette",
            "uvicorn": "uvicorn",
            "sklearn": "scikit-learn",
            "scipy": "scipy",
            "threadpoolctl": "threadpoolctl",
        },
    ),
    "serve": (
        "serving HTTP",
        {"fastapi": "fastapi", "uvicorn": "uvicorn", "prometheus_client": "prometheus-client"},
    ),
}
"""By extra: what it is for, and its modules with the packages that hold them."""


def need(extra: str) -> None:
    """Make sure that the packages of an extra are installed, without importing them.

    Raises:
        MissingPackageError: one is not.

    """
    purpose, modules = EXTRAS[extra]
    missing = [package for module, package in modules.items() if find_spec(module) is None]
    if missing:
        # Not `tagger[…]`: on the package index that name is somebody else's.
        packages = " ".join(missing)
        raise MissingPackageError(f"{purpose} needs {packages}: pip install {packages}")


def arrow() -> Any:
    """Return the module pyarrow. Raises `MissingPackageError`."""
    need("parquet")
    import pyarrow.parquet

    return pyarrow
