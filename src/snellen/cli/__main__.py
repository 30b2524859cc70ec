"""`python -m snellen.cli`."""

from snellen.cli import main

raise SystemExit(main())
