"""Asks Celery's workers for a task for each argument."""

import sys

from tests.hosts.tasks import app

for key in sys.argv[1:]:
    app.send_task("predict", [key])
