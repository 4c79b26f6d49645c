"""`python -m scoreregs_offline_rl`, for launchers that start modules."""

import sys

from scoreregs_offline_rl.commands.entry import main

sys.exit(main())
