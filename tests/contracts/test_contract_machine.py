"""Any order of calls, good and bad: the contracts agree with the model, and no money is lost or made."""

from hypothesis import HealthCheck, settings
from machine.network_machine import NetworkMachine

TestNetwork = NetworkMachine.TestCase
TestNetwork.settings = settings(
    max_examples=200,
    stateful_step_count=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
