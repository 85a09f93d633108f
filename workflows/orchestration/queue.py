"""The queue of runs that the page starts: one at a time in an output folder, however it was started.

dagster.yaml names this class. Runs of a job have the tag of their folder; runs of assets that were chosen on the page are of no
job of ours, and get it here.
"""

from dagster import TextMetadataValue
from dagster._core.run_coordinator import SubmitRunContext
from dagster._core.run_coordinator.queued_run_coordinator import QueuedRunCoordinator
from dagster._core.storage.dagster_run import DagsterRun

from workflows.orchestration.history import OUTPUT_TAG


class OneRunAFolder(QueuedRunCoordinator):
    """Dagster's queue, with the tag that limits it."""

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Put a run into the queue."""
        run = context.dagster_run
        if OUTPUT_TAG not in run.tags:
            graph, chosen = context.workspace.asset_graph, run.asset_selection or ()
            facts = [graph.get(key).metadata.get(OUTPUT_TAG) for key in chosen if graph.has(key)]
            found = {str(fact.value) for fact in facts if isinstance(fact, TextMetadataValue)}
            if len(found) == 1:  # stages of several folders are kept apart by their own locks
                self._instance.add_run_tags(run.run_id, {OUTPUT_TAG: found.pop()})
        return super().submit_run(context)
