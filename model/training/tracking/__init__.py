"""What a person sees of a training while it runs, and afterwards: its metrics, where its time went, what failed.

events.py         what happened, as JSON lines in the training folder: starts, failures, waits, the end
clock.py          what the time of rank 0 goes into
accounts.py       the same for each attempt, in the training folder
spent.py          where the time of all attempts went, and what each failure cost
summary.py        this as lines of text

live.py           rows of metrics, written by a thread when they are made
growing.py        files that grow: appended on a disk, uploaded now and then in an object store
lines.py          the rows as JSON lines
event_files.py    the rows as TensorBoard's event files
mlflow_runs.py    the rows as a run of MLflow
figures.py        a row as numbers with names

Nothing here is part of a checkpoint, and nothing ends a run: what a store does not take is tried again, or left out.

    runs/encoder/live/metrics-0001-000.jsonl                         {"kind": "train", "step": 10, "loss": 9.31, ...}
    runs/encoder/live/attempt-0001-000.out.tfevents.1796...          tensorboard --logdir runs
    runs/encoder/events/1796042700123-command-8f3a12.jsonl           {"kind": "failure", "host": "h3", "what": "rank 1: ..."}
    runs/encoder/attempt-0001/time.json                              {"step": 400, "seconds": {"computing": 181.2, ...}}
"""
