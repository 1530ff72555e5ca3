"""`python -m flows.fleet`."""

import sys

from flows.fleet.command_line import main

sys.exit(main(sys.argv[1:]))
