"""The description of the package: README.md without relative links, which lead nowhere on PyPI.

Everything else is in pyproject.toml. With a `Source` in its `[project.urls]`, the links become absolute; else they become
the names of the files.
"""

import re
import tomllib
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent


def description() -> str:
    """The text of README.md for readers who have no checkout."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    source = project.get("urls", {}).get("Source")
    link = rf"[\1]({source}/blob/main/\2)" if source else r"`\2`"
    return re.sub(
        r"\[([^]]+)\]\((?!https?:)([^)]+)\)", link, (ROOT / "README.md").read_text(encoding="utf-8")
    )


setup(long_description=description(), long_description_content_type="text/markdown")
