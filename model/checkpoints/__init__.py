"""Training folders on disk: checkpoints that any process can be killed over, and means of several.

listing.py      names in the folder: attempts, and checkpoints that are whole
files.py        one checkpoint: written as a stream with checksums, read once
rows.py         metrics rows, and marks where some are lost
checkpoint.py   the folder: attempts that fence each other, the commit, the pointer to the best, what is kept
writer.py       the thread that writes checkpoints while training goes on
ledger.py       what a run was trained on, and whether that leaves a gap
averaging.py    the mean of the weights of several checkpoints
"""
