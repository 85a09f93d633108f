"""Training on several machines: Ray Train runs `model.training.loop.train` in every worker. Start with launch.py.

    config.py     ClusterConfig: how many workers, where, how many failures
    supervisor.py pretrain(): start the driver, and again when it was killed
    driver.py     the driver as a process of its own
    launch.py     pretrain(): what the driver does: start the workers, report progress, explain failures
    group.py      the process group of the workers
    worker.py     what each worker runs
    trainer.py    the Ray Train trainer
    policies/     which failures end a run, and how many workers there are
    counting.py   failures in a row without a checkpoint between them
    stops.py      SIGTERM and a budget of time, passed on to the workers
    progress.py   what is reported while they train
    local.py      a Ray of our own on this machine
    session.py    a Ray for one run, found or started
    nodes.py      the machines of a cluster, and whether all see the same files
    checking/     whether the machines of a cluster are fit for a run
    tasks.py      the jobs of `prepare` as Ray tasks
    spark/        the jobs of `prepare` as tasks of Spark
    manifests/    clusters, written down: for KubeRay, for `ray up`, for systemd
    jobs/         a command as a job of a cluster: `submit`, `status`, `logs`, `stop`

What happens when a worker dies, say rank 1 at step 260, with checkpoints every 100 steps:

1.  Its connections break. The gradients of step 260 cannot be summed, so rank 0 fails too; no partial sum is applied.
2.  Ray's controller checks the workers twice a second, sees the death, and ends all workers. (A frozen one does not answer
    the controller, and one that is stuck in a collective makes no progress: both are found after `step_timeout_seconds`, the
    latter by the watchdog of model/training/health, which knows slow reading, validations and checkpoints from a hang.)
3.  It starts as many new ones, on any machines with room, unless this is failure `max_failures` + 1 in a row without a new
    checkpoint between them. That takes some seconds: processes start, torch is imported, the process group is built.
4.  Every new worker calls `train` as the first ones did. Rank 0 takes the next number, `attempt-0002`; if a worker of attempt 1
    is still alive, it sees that folder before its next write and stops.
5.  `load_newest` (model/checkpoints) finds `attempt-0001/checkpoint-00000200`, the newest with valid checksums.
    Ray's own memory is not used. Steps 201 to 260 are repeated with the same samples, masks and dropout.

What is known before it happens costs no step: SIGTERM to the driver, the end of `max_hours`, Ray's notice that a machine will
be taken away. Then a request in the training folder (model/training/stopping.py) makes the workers write a checkpoint of the
step that they are at. After a notice they start again on other machines.

With `workers = "2:8"` the number of workers follows the machines (policies/elastic.py). When a machine is lost, 3 starts as
many as there is room for, at least two, and counts no failure. When a machine is new, the workers are asked to stop as above,
and more of them continue from that step. Samples, masks and dropout are functions of the step, so nothing else changes.

If the driver dies, or its Ray, which takes it with it, its workers end, and a small process that only watches (supervisor.py)
starts the next driver, which continues at 4. An error that a person must fix, such as damaged shards, ends the run at once.
"""
