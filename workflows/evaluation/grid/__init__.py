"""How tasks are fine-tuned: settings of each task, presets, grids, and the point of a grid that is best on dev.

settings.py      settings of a task, presets, points of a grid
executors.py     who runs the runs: this process, others, the machines of a Ray cluster
together.py      how far the runs are that run elsewhere: time left
choice.py        the best point of each model and task by its scores on dev; what is written of all of them
"""
