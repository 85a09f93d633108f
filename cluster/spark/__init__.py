"""Jobs of `prepare` on Apache Spark: `nezha-pipe prepare --runner spark`.

settings.py   the master, Spark's own settings, and which of ours are there when the user has none
driver.py     Spark's driver: a Java process beside this one, with its log in a file
executing.py  what runs in Python on the executors: a look at their packages and files, then the step
explaining.py what is wrong, in a line
session.py    an application on a Spark, from its start to its end
tasks.py      SparkTasks: an executor of jobs, each task and each bucket a task of Spark

    with connected(parse(["master=spark://head:7077"], workers=16), chain.root, files) as session:
        chain.prepare(Execution(16, executor=SparkTasks(session)))

This process starts the driver (driver.py) and talks to it through Py4J. Executors fetch our packages from it, so none are
installed there, but they need a Python and libraries like ours. Spark moves descriptors only, pickled by us; text goes
through storage that all machines can reach.
"""
