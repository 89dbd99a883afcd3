"""Real text: sentences of this repository's own pages."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "deploy/README.md"]


def sentences(count):
    """The first `count` sentences of at least 20 characters, markup and all."""
    found = []
    for page in PAGES:
        path = ROOT / page
        for paragraph in path.read_text().split("\n\n") if path.exists() else []:
            text = " ".join(paragraph.split())
            found += [s for s in re.split(r"(?<=[.:;!?]) ", text) if 20 <= len(s) <= 400]
    found = list(dict.fromkeys(found))
    assert len(found) >= count, f"only {len(found)} sentences in {', '.join(PAGES)}"
    return found[:count]
