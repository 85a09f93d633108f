"""The same loop on many machines: Ray Train runs `model.training.loop.train` in every worker.

    config.py     ClusterConfig: how many workers, where, how much may go wrong
    launch.py     pretrain(): start, watch, explain
    session.py    a Ray for one run, found or started
    trainer.py    how Ray Train is told to run the loop
    worker.py     what each worker runs

What happens when a worker dies, say rank 1 at step 260, with checkpoints every 100 steps:

1.  Its connections break. The gradients of step 260 cannot be summed, so rank 0 fails too; nothing half-summed is applied.
2.  Ray's controller looks at the workers twice a second, sees the death, and ends all workers. (One that hangs is found after
    `hang_timeout_seconds`.)
3.  It starts as many anew, on any machines with room, at most `max_failures` times. That takes some seconds: processes start,
    torch is imported, the process group is built.
4.  Every new worker calls `train` as the first ones did. Rank 0 takes the next number, `attempt-0002`; should a worker of
    attempt 1 be alive after all, it sees that folder before its next write and stops.
5.  `model.training.checkpoint.newest_valid` finds `attempt-0001/checkpoint-00000200`: the newest whose marker and checksums hold. Ray is
    not asked what it remembers. Steps 201 to 260 are done again with the same samples, masks and dropout.

A dead driver (this process) is the same with fewer steps: its workers end, and the next call of `pretrain` begins at 4.
An error that a person must mend, such as damaged shards, ends the run at once.
"""
