"""`python -m flows.check`."""

import sys

from flows.check.command_line import main

sys.exit(main(sys.argv[1:]))
