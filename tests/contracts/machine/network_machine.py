"""The machine: all steps over all contracts."""

from machine.case_steps import CaseSteps
from machine.framing_steps import FramingSteps
from machine.registry_steps import RegistrySteps
from machine.rewards_steps import RewardsSteps
from machine.verdict_steps import VerdictSteps


class NetworkMachine(RegistrySteps, VerdictSteps, CaseSteps, FramingSteps, RewardsSteps):
    """Any order of good and bad calls; contracts and model agree after each."""
