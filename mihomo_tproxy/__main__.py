"""`python -m mihomo_tproxy` is the command `mihomo-tproxy`."""

import sys

from mihomo_tproxy.cli import main

sys.exit(main())
