#!/usr/bin/env python3
"""The comparison lies in bench/compare/; this is its old door. See bench/README.md."""

import os
import runpy

runpy.run_path(os.path.join(os.path.dirname(os.path.abspath(__file__)), "compare"),
               run_name="__main__")
