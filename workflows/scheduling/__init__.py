"""Retraining by itself: at set times, or when a new file is there.

Decisions are functions over plain files beside the history, in `.dagster/scheduled/NAME`:

    schedule.json   what `nezha-pipe schedule` wrote
    000001.json     a trigger: why a run was started, how often, and how it ended
    000001.log      what its run printed
    looks.json      files of the last look

times.py        when a cron expression ticks
schedules.py    schedules: made, paused, removed
files.py        which watched files are new, and no longer written
triggers.py     causes of runs, remembered before the run is started
deciding.py     what to do at a look: start, resume, wait or give up; no files, no clock
starting.py     start a run in a process of its own, which holds a lock as long as it lives
telling.py      tell those whom `[notify]` names
looking.py      a look at all schedules: read the facts, decide, act
emitting.py     the same for those who want no daemon: lines for cron, units of systemd, a RayCronJob
automation.py   the schedules and sensors of Dagster's page, which call looking.py
"""
