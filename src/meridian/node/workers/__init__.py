"""Scheduler and workers as processes: where the tasks of `meridian.scale` run when one machine is not enough."""
