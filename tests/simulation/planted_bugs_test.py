"""The tester tested: each planted bug (config/planted_bug.hpp) must make a test fail that passes
without it. A bug that no test notices is a hole in the tests.

Usage: planted_bugs_test.py BIN_FOLDER [BUG...]
"""

import os
import pathlib
import subprocess
import sys
import unittest

BIN = pathlib.Path(sys.argv[1]).resolve()
ONLY = sys.argv[2:]
sys.argv = sys.argv[:1]
DEADLINE_S = 400

# Bug -> the tests that may notice it, the likeliest first.
FAULTS = "simulation_faults"
PROMISES = "simulation_promises"
NOTICED_BY = {
    "no_sync": [FAULTS, "storage_sync_test"],
    "answer_before_commit": [FAULTS],
    "no_dedupe": [FAULTS],
    "dedupe_ignores_body": [FAULTS],
    "gap_ignored": [FAULTS],
    "epoch_ignored": [FAULTS],
    "incarnation_ignored": [PROMISES],
    "incarnation_not_durable": [FAULTS],
    "replay_skips_last": [FAULTS],
    "replay_from_newer": [FAULTS],
    "replay_twice": [FAULTS],
    "mismatch_ignored": [PROMISES],
    "trim_before_verified": [PROMISES, FAULTS],
    "trim_too_far": [PROMISES, FAULTS],
    "rollback_unacknowledged": [PROMISES],
    "poison_never_given_up": [PROMISES],
    "suspect_not_durable": [PROMISES],
    "snapshot_misnumbered": [FAULTS],
    "sync_without_flip": ["simulation_serving"],
    "unverified_load": [PROMISES, FAULTS],
    "lease_never_expires": [PROMISES],
    "leaving_node_granted": ["unit_actors_logic"],
    "work_repeated": [FAULTS],
    "lost_is_done": [FAULTS],
    "answer_before_sync": [FAULTS],
    "file_not_synced": [FAULTS],
    "name_not_synced": [FAULTS],
    "damaged_log_skipped": ["storage_corruption_test"],
    "step_before_copied": [PROMISES],
}


def outcome(test, bug):
    """None when the test passed, else how it failed."""
    environment = {**os.environ, "TROUPE_PLANT": bug, "TROUPE_SIM_SEEDS": "40"}
    try:
        done = subprocess.run([BIN / test], env=environment, capture_output=True, text=True,
                              timeout=DEADLINE_S)
    except subprocess.TimeoutExpired:
        return "did not end"
    if done.returncode == 0:
        return None
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "error" in line]
    return lines[0][-160:] if lines else f"status {done.returncode}"


class PlantedBugs(unittest.TestCase):
    def test_each_is_noticed(self):
        for bug, tests in NOTICED_BY.items():
            if ONLY and bug not in ONLY:
                continue
            with self.subTest(bug=bug):
                for test in tests:
                    noticed = outcome(test, bug)
                    if noticed:
                        print(f"{bug}: {test}: {noticed}", flush=True)
                        break
                else:
                    self.fail(f"{bug} was noticed by none of {tests}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
