"""The command line: arguments, printing, exit status. Nothing else in the package prints or reads the environment.

- `catalog.py`: the commands, with a line of help each.
- `console.py`: tables, JSON lines and progress.
- `arguments.py`: parsing the arguments of a command, and its help.
- `files.py`: files that commands write beside checkpoints.
- `writing.py`: options and output shared by all commands that write checkpoints.
- `reading.py`: options and output shared by commands that read values.
- `directories.py`: printing the checkpoints of a directory.
- `completing.py`: candidates for the completion of a shell.
- `scripts.py`: scripts by which shells ask for them.
- `commands/`: one module a command.
- `program.py`: parses the command line and runs a command.
"""

from tensorbundle.tools.cli.program import main

__all__ = ["main"]
