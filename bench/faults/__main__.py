"""``make faults``: replay two pipelines with one fault at a time, and write what was found into bench/RESULTS.md.

``--quick`` takes the tuning seed 0 and the synthetic pipeline alone, and writes nothing; ``--only 3,7`` takes some
faults. Replays without a fault are kept in the working folder, and made once for each pipeline and seed; remove it
after a change of fourfold. ``--peers FOLDER`` asks peers too, ``--peers-only`` nobody else: what was not asked stays in
the table as it is.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import json
import multiprocessing
import os
import shutil
import tempfile
from pathlib import Path

from bench.faults import peers, table
from bench.faults.fault import Size
from bench.faults.judge import Verdict, false_alarms
from bench.faults.peers import PeerKey
from bench.faults.registry import FAULTS
from bench.faults.replay import Observed, clean
from bench.faults.task import Task, quietly, verdict_of
from bench.measure import RESULTS, Report

THRESHOLDS = {"synthetic": 0.5, "flights": 0.3}


def main() -> None:
    """Run it."""
    arguments = _arguments()
    folder, checked = arguments.peers, not arguments.peers_only
    kept = arguments.work or Path(tempfile.mkdtemp(prefix="fourfold-faults-"))
    work = kept if checked else kept / "unchecked"
    seeds = [0] if arguments.quick else [int(seed) for seed in arguments.seeds.split(",")]
    seeds = seeds if checked else seeds[:1]
    names = ["synthetic"] if arguments.quick else arguments.pipelines.split(",")
    numbers = [int(number) for number in arguments.only.split(",")] if arguments.only else list(FAULTS)
    sizes = [Size(size) for size in arguments.sizes.split(",")]
    tasks = [
        Task(name, seed, number, size, work, _export(folder, seed, seeds, number), checked)
        for number in numbers
        for size in FAULTS[number].sizes
        if size in sizes
        for name in names
        if name in FAULTS[number].pipelines
        for seed in seeds
        if checked or peers.sees(FAULTS[number])
    ]
    nulls = [] if arguments.quick or arguments.only or not checked else [("series", seed) for seed in seeds]
    os.environ["OMP_NUM_THREADS"] = "1"  # of each process, since they share the machine's cores
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(arguments.processes, mp_context=context, initializer=quietly) as pool:
        starts = [(name, seed) for name in names for seed in seeds] + nulls
        waiting = [pool.submit(clean, name, seed, work, checked=checked) for name, seed in starts]
        without = [future.result() for future in waiting]
        for observed in without if checked else ():
            _show_clean(observed)
        verdicts = []
        for future in concurrent.futures.as_completed([pool.submit(verdict_of, task) for task in tasks]):
            verdicts.append(future.result())
            if checked:
                _show(verdicts[-1])
        failed = peers.install(folder) if folder is not None else {}
        first = {task.pipeline: task for task in reversed(tasks) if task.export}
        asked = [(task, "after") for task in tasks if task.export] + [(task, "before") for task in first.values()]
        given = {
            PeerKey(peer, task.pipeline, task.fault, task.size, period): pool.submit(
                peers.ask, peer, folder, task.frame, THRESHOLDS[task.pipeline], period
            )
            for task, period in asked
            for peer in peers.NAMES
            if peer not in failed
        }
        answers = {key: future.result() for key, future in given.items()}
    report, standing = Report(), RESULTS.read_text(encoding="utf-8")
    columns = table.PeerColumns.of(answers, failed) if folder else table.PeerColumns.standing(standing)
    if checked:
        (work / "verdicts.json").write_text(json.dumps([dataclasses.asdict(verdict) for verdict in verdicts], indent=1))
        table.write(report, verdicts, without, columns)
    else:
        table.refill(report, standing, columns)
    if not (arguments.quick or arguments.only):
        report.update(RESULTS)
    if arguments.work is None:
        shutil.rmtree(kept)


def _export(folder: Path | None, seed: int, seeds: list[int], number: int) -> bool:
    """Whether peers are asked: on the first seed, since they are slow."""
    return folder is not None and seed == seeds[0] and peers.sees(FAULTS[number])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed of the synthetic pipeline; nothing is written")
    parser.add_argument("--only", default="", help="numbers of faults, such as 3,7; nothing is written")
    parser.add_argument("--seeds", default="101,102", help="tune on 0, 1 and 100; report on 101,102")
    parser.add_argument("--sizes", default=",".join(Size), help="large, small, slow")
    parser.add_argument("--pipelines", default="synthetic,flights")
    parser.add_argument("--processes", type=int, default=2, help="how many replays run at once")
    parser.add_argument("--work", type=Path, help="a folder for replays, which is kept")
    parser.add_argument("--peers", type=Path, help="a folder of the peers' environments; built if missing")
    parser.add_argument("--peers-only", action="store_true", help="fill in the columns of peers alone")
    arguments = parser.parse_args()
    if arguments.peers_only and arguments.peers is None:
        parser.error("--peers-only needs --peers FOLDER, where their environments are or are built")
    return arguments


def _show(verdict: Verdict) -> None:
    delay = "missed" if verdict.delay is None else f"after {verdict.delay:.1f} d"
    place = f"{verdict.fault:2d} {FAULTS[verdict.fault].name}, {verdict.size}, {verdict.pipeline} {verdict.seed}"
    print(f"{place}: {delay}, {verdict.incidents} incidents, {verdict.unrelated} unrelated", flush=True)
    for title in verdict.titles:
        print(f"      {title}", flush=True)


def _show_clean(observed: Observed) -> None:
    alarms = false_alarms(observed)
    print(f"no fault, {observed.pipeline} {observed.seed}: {len(alarms)} incidents, {observed.seconds:.1f} s of checks")
    for alarm in alarms:
        print(f"      {alarm.title} [{alarm.kind}] {alarm.where}", flush=True)


if __name__ == "__main__":
    main()
