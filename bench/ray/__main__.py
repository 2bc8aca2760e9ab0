"""`python bench/ray`: the benchmark of this folder, on a Ray cluster of its own on loopback."""

import sys

from bench_ray import main

sys.exit(main())
