"""A command as a job of a Ray cluster: submitted, followed, stopped, and what its folder says when Ray has forgotten it.

    package.py      the zip that a job runs: our rooms and the recipe
    entry.py        what runs in the job: compare versions, then call the command
    connection.py   the dashboard of a cluster, by Ray's Job SDK; its errors in one line
    submission.py   submit, or find the job that is there already
    following.py    the lines of a job's log until its end, also while the dashboard is away
    supervising.py  submit the next attempt when a job died
    training.py     the training of a step as a job: `pretrain` with the address of a dashboard
    folder.py       what is known of a job from its folder

    this machine                         the cluster
    nezha-pipe submit tiny pretrain  ->  job tiny-pretrain-3f9a0c1b2d-1: python -m cluster.jobs.entry
                                           nezha-pipe pretrain tiny ...: supervisor, driver, workers, as after a local call

An id is made from the command, the recipe and the output folder, so that the same submission is the same job. The number at
its end is the attempt: Ray never runs an id twice. Ray's list of jobs ends with its head; what was trained is in the folder.

The command's arguments travel in the package and not on the command line: the URL of a signed input would be seen in `ps`, in
the job's log and by everybody who lists jobs. Keys of a store and Ray's token are in the environment of the machines, and never
sent.
"""
