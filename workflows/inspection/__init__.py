"""Look into what stages wrote, and check it.

inspect.py     `inspect`: facts and rows of a stage or checkpoint, or one document in all stages; `verify`: checksums, invariants
previews.py    rows of each kind of stage as text
"""
