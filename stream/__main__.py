"""`python -m stream` is `vretouch`."""

import sys

from stream.cli import main

sys.exit(main())
