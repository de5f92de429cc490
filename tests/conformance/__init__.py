"""The conformance suite of `export`: the same events judged by `scan` and by the engines that run the queries."""
