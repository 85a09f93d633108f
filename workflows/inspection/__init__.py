"""Look into what stages wrote, and check it.

inspect.py     `inspect`: a stage, a checkpoint, or one document in all stages; `verify`: checksums and invariants
previews.py    rows of each kind of stage as text
"""
