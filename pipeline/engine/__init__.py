"""What runs every data stage: a stage is a folder, its work is a job of map and reduce steps over tasks.

    stages.run(root, stage, body)                             skip a finished stage, else call `body` and commit
    job.run(Job(tasks, map, reduce), execution)               tasks -> spill files -> buckets -> finished files
    Execution(workers=8, report=..., executor=RayTasks())     where it runs; changes no byte

execution.py    workers, progress reports, executor: what is passed down to every job
stages.py       keys, manifests, commit, resuming, verification
steps.py        Job, and its map and reduce steps as plain callables
job.py          run a job, here or by an executor; collect its files and counts
spill.py        how rows travel from a task to their bucket
counting.py     counts that tasks make and that are added up
earlier.py      earlier stages of the same source, of which unchanged pieces are used again
integrity.py    compare finished files with their manifest before they are read
places.py       whether several machines see the same files
parquet.py      read Parquet files: whole, some columns, some rows
row_order.py    take rows of a table in any order

Skip these in a first reading:

beam.py         run a job by Beam, on this machine or elsewhere
processes.py    the worker processes of this machine
slots.py        long pieces of work, each in a process of its own; one that is killed is repeated
startup.py      tricks that save seconds at the start and end of a command, each with its measured gain
"""
