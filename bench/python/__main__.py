"""`python bench/python`: the benchmarks of this folder."""

import sys

from bench_queues import main

sys.exit(main())
