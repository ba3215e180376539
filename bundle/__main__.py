"""`python -m tensorbundle`."""

import sys

from tensorbundle.tools.cli import main

sys.exit(main())
