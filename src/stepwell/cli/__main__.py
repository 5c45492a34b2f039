"""`python -m stepwell.cli`: the command line without the script that installing puts on PATH."""

import sys

from stepwell.cli.main import main

sys.exit(main())
