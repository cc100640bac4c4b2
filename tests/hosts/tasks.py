"""A Celery application: a task logs the record that it is given, and notes that it has ended."""

from __future__ import annotations

import os

import celery

import fourfold as ff

app = celery.Celery("tasks", broker="filesystem://")
folder = os.environ["TASKS_FOLDER"]
app.conf.broker_transport_options = {
    "data_folder_in": f"{folder}/queue", "data_folder_out": f"{folder}/queue", "control_folder": f"{folder}/control",
}  # fmt: skip
app.conf.task_ignore_result = True
ff.init()
ff.log("starts", key=f"start-{os.getpid()}", score=1.0)


@app.task(name="predict")  # type: ignore[untyped-decorator]
def predict(key: str) -> None:
    ff.log("predict", key=key, score=0.5, process=os.getpid())
    with open(f"{folder}/done/{key}", "w") as file:
        file.write(str(os.getpid()))
