"""The command line: arguments, printing, exit status. Nothing else in the package prints or reads the environment.

- `catalog.py`: the commands, with a line of help each.
- `console.py`: tables, JSON lines and progress.
- `files.py`: files that commands write beside checkpoints.
- `writing.py`: what all commands that write have in common.
- `reading.py`: what commands that read values have in common.
- `directories.py`: how the checkpoints of a directory are printed.
- `arguments.py`: how a command's arguments are parsed, and its help.
- `commands/`: one module a command.
- `program.py`: parses the command line and runs a command.
"""

from tensorbundle.tools.cli.program import main

__all__ = ["main"]
