"""Write the checkpoints of `optimizers`, one for each class of optimizer.

    PYTHONPATH=tests python tests/golden/make_optimizers.py OUT

Needs TensorFlow 2.21, tf_keras and Keras 3 (the extra `interop`). The programs are those of
`support/optimizer_programs.py`, which says what the values mean. `expected.json` has, for each checkpoint, which
generation its optimizer is of, the roles of its slots in their order, and how many it has of each.
"""

import json
import sys
from pathlib import Path

from support.optimizer_programs import CASES


def main(out: Path) -> None:
    expected = {}
    for name, case in sorted(CASES.items()):
        program = case.build(6)
        program.mark()
        program.save(str(out / name))
        expected[name] = {
            "generation": case.generation,
            "slots": {role: sum(each is not None for each in slots) for role, slots in program.slots.items()},
        }
    text = json.dumps(expected, indent=1, sort_keys=False)
    (out / "expected.json").write_text(f"{text}\n", encoding="ascii")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
