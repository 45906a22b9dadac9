"""`python -m model.paper`: the network's tables."""

from model.paper.tables import main

raise SystemExit(main())
