"""What `make ui` starts ends with it, also where it was killed and could end nothing."""

import signal
import subprocess
import sys

from tests.deployments.servers import ROOT, clean_environment, free_port
from tests.pipeline.programs import ends_within

STARTS_A_WORKER = """
import sys, time
from pathlib import Path
from deployments.children import Child
child = Child(("worker", "start", "--pool", "none", "--type", "process"), Path(sys.argv[1]) / "log")
print(child._child.pid, flush=True)
sys.stdin.read()
"""


def test_a_child_ends_with_the_program_that_started_it(tmp_path):
    # A worker without a server tries for minutes to find one.
    environment = clean_environment(tmp_path, PREFECT_API_URL=f"http://127.0.0.1:{free_port()}/api")
    program = subprocess.Popen(
        [sys.executable, "-c", STARTS_A_WORKER, str(tmp_path)],
        cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        child = int(program.stdout.readline())
        assert not ends_within(child, 0)
        program.send_signal(signal.SIGKILL)
        program.wait(10)
        assert ends_within(child, 30)
    finally:
        program.kill()
        program.wait()
        program.stdin.close()
        program.stdout.close()
