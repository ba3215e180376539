"""Makes build/types/tensorbundle out of links to the sources, where type checkers find them live.

The editable install maps the folders with an import hook that no type checker sees.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "build" / "types" / "tensorbundle"
FOLDERS = {"proto": ROOT / "proto", "tools": ROOT / "tools"}


def main() -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    wanted = {path.name: path for path in (ROOT / "bundle").iterdir() if path.name != "__pycache__"}
    wanted |= FOLDERS
    for old in TARGET.iterdir():  # links that are right stay: programs may be importing through them
        if old.is_symlink() and old.readlink() != wanted.get(
            old.name
        ):  # not the directory of compiled modules
            old.unlink()
    for name, path in wanted.items():
        if not (TARGET / name).is_symlink():
            (TARGET / name).symlink_to(path)


if __name__ == "__main__":
    main()
