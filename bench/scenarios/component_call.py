"""What a component around a small function costs a call: in the caller's thread, and CPU time of the whole process."""

import json
import sys
import time

import fourfold as ff

CALLS, WARM = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000, 50


@ff.component
def small(number: int, name: str = "a") -> int:
    """A function that does next to nothing."""
    return number + 1


ff.init("store", project="bench")
for i in range(WARM):
    small(i)
wall, caller = [], []
used = time.process_time()
for i in range(CALLS):
    ran, started = time.thread_time(), time.perf_counter()
    small(i)
    wall.append(time.perf_counter() - started)
    caller.append(time.thread_time() - ran)
    if i % 100 == 0:
        time.sleep(0.01)  # a service does other things too
ff.flush()
process = (time.process_time() - used) / CALLS
print(
    json.dumps(
        {
            "µs a call, in the caller's thread": 1e6 * sorted(caller)[CALLS // 2],
            "µs a call, wall": 1e6 * sorted(wall)[CALLS // 2],
            "µs a call, wall, 99th percentile": 1e6 * sorted(wall)[CALLS * 99 // 100],
            "µs a call, CPU of the process": 1e6 * process,
        }
    )
)
