"""Training folders on disk: checkpoints that any process can be killed over, and means of several.

checkpoint.py   the folder: attempts, whole checkpoints with checksums, the pointer to the best; how each is read
averaging.py    the mean of the weights of several checkpoints
"""
