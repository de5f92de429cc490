"""Is there an IMDS here, is it genuine, whose is it: asks the way AWS tools ask, and judges the answer.

`ask` is the only module that questions an address; `judge` and `identity` are pure. `run.probe` puts them together.
"""
