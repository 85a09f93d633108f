"""What Dagster keeps and shows of the chain. The assets themselves are in workflows/assets.py.

history.py    the history of runs: where it is, how a process opens it, runs whose process died
sqlite.py     its databases on disk, with patience for several processes
postgres.py   its databases on a server, with patience while that is away
metadata.py   what the page of an asset shows of a finished stage
logs.py       what a step reports, in the log of its run
detached.py   processes that outlive who starts them, with a lock
queue.py      which of the page's runs waits
launching.py  how the page starts a run
server.py     `nezha-pipe ui`: Dagster's page over one or several recipes, with its daemon
"""
