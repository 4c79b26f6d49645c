"""Contract suites that every schedule and every prior passes, ours or a user's.

Subclass one in a pytest module, write the methods that make the object under test, and the suite
is collected with it:

    class TestMySchedule(ScheduleContract):
        def make_schedule(self):
            return MySchedule()
"""

from scoreregs.testing.prior_contract import PriorContract
from scoreregs.testing.schedule_contract import ScheduleContract

__all__ = ["PriorContract", "ScheduleContract"]
