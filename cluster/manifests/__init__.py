"""Clusters, written down: `nezha-pipe cluster render`. Settings and a recipe become manifests, cluster files and units.

config.py     the settings: one frozen dataclass for each table of the file
job.py        the recipe, the command that runs it, and the machines that its workers need
pods.py       pod templates that all kinds of Kubernetes share
kuberay.py    RayCluster, RayJob, RayCronJob
starting.py   commands that start Ray, without Ray's own `ray stop`
launcher.py   cluster files for `ray up`: machines of your own, Amazon
systemd.py    units for Ray and for the job
render.py     the table of kinds; YAML
examples/     settings of clusters that come with the program

All of it is plain: dataclasses in, dictionaries out, and YAML at the end. Nothing here talks to a cluster.
"""
