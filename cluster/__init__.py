"""Training on several machines: Ray Train runs `model.training.loop.train` in every worker. Start with launch.py.

    config.py     ClusterConfig: how many workers, where, how many failures
    launch.py     pretrain(): start the workers, report progress, explain failures
    worker.py     what each worker runs
    trainer.py    the Ray Train trainer
    session.py    a Ray for one run, found or started
    tasks.py      the jobs of `prepare` as Ray tasks

What happens when a worker dies, say rank 1 at step 260, with checkpoints every 100 steps:

1.  Its connections break. The gradients of step 260 cannot be summed, so rank 0 fails too; no partial sum is applied.
2.  Ray's controller checks the workers twice a second, sees the death, and ends all workers. (One that hangs is found after
    `hang_timeout_seconds`.)
3.  It starts as many new ones, on any machines with room, at most `max_failures` times. That takes some seconds: processes
    start, torch is imported, the process group is built.
4.  Every new worker calls `train` as the first ones did. Rank 0 takes the next number, `attempt-0002`; if a worker of attempt 1
    is still alive, it sees that folder before its next write and stops.
5.  `newest_valid` (model/checkpoints) finds `attempt-0001/checkpoint-00000200`, the newest with valid checksums.
    Ray's own memory is not used. Steps 201 to 260 are repeated with the same samples, masks and dropout.

If the driver (this process) dies, its workers end, and the next call of `pretrain` continues at 4. An error that a person must
fix, such as damaged shards, ends the run at once.
"""
