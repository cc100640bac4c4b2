"""What a process that only logs pays: import, init, one record and a flush, in seconds and MB of memory at most."""

import json
import resource
import time

started, used = time.perf_counter(), time.process_time()
import fourfold as ff  # noqa: E402 - the import is what is measured

imported, imported_used = time.perf_counter() - started, time.process_time() - used
after_import = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
ff.init("store", project="bench")
ff.log("predict", key="a", score=0.5)
ff.flush()
print(
    json.dumps(
        {
            "seconds, import": imported,
            "CPU seconds, import": imported_used,
            "CPU seconds, until the first record is safe": time.process_time() - used,
            "MB, after the import": after_import,
            "MB, after the first record": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
    )
)
