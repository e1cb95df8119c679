"""The machine: all steps over all contracts."""

from machine.registry_steps import RegistrySteps
from machine.report_steps import ReportSteps
from machine.rewards_steps import RewardsSteps


class NetworkMachine(RegistrySteps, ReportSteps, RewardsSteps):
    """Any order of good and bad calls; contracts and model agree after each."""
