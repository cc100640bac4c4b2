"""What reaches the screen: in the characters and the width it has, nothing that acts on it, and how commands end."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
import sqlalchemy as sa
from rich.cells import cell_len

import fourfold as ff
from fourfold.cli import main
from fourfold.cli.grid import Grid, right, spare, wide
from fourfold.cli.screen import Screen, Words, visible
from fourfold.sdk import Session
from tests.test_cli import run

FOURFOLD = str(Path(sys.executable).parent / "fourfold")
HOSTILE = "\x1b[31mred\x07\r\n\u202etxt.exe\x9b2J"
ACTS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
COMMANDS = [
    ["status"], ["runs"], ["streams"], ["streams", "predict"], ["metrics"],
    ["metrics", "late", "recall", "--by", "side"],
    ["metrics", "late", "recall", "--every", "1d"], ["trace", "7"], ["compare", "side=zoë", "side=r"],
    ["skew", "predict", "predict"], ["skew", "predict", "arrivals", "--by-key"], ["doctor"], ["fold"],
]  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small store with a name, a value and an error that no ASCII has."""
    folder = tmp_path_factory.mktemp("screen") / "store"
    session = ff.init(folder, "test")
    ff.task("late", prediction="predict.score", label="arrivals.late", slices=["side"])
    for i in range(40):
        day = f"2024-01-0{1 + i % 5}"
        ff.log("predict", key=i, score=i / 40, side="zoë" if i % 2 else "r", time=day)
        ff.log("arrivals", key=i, late=i > 15, time=day)
    ff.log("arrivals", key="unknown→", late=True)
    ff.log("überlange_namen_von_strömen_sind_kein_grund", key="a", v="日本語")

    @ff.component
    def broken(frame: pa.Table) -> pa.Table:
        raise ValueError("größer ≥ 1")

    with pytest.raises(ValueError, match="größer"):
        broken(pa.table({"x": [1.0, 2.0]}))
    session.close()
    return folder


def here(
    monkeypatch: pytest.MonkeyPatch, store: Path, *arguments: str, encoding: str = "utf-8", width: int = 80
) -> str:
    """The output of a command that works, on a screen of this encoding and width."""
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "argv", ["fourfold", *arguments, "--store", str(store)])
        patch.setenv("COLUMNS", str(width))
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code
    out.seek(0)
    return out.read()


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_each_screen_is_written_in_the_characters_that_there_are(
    store: Path, arguments: list[str], encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = here(monkeypatch, store, *arguments, encoding=encoding)
    assert text.strip()
    assert not re.search(r"\\u2[0-9a-f]{3}", text), "marks have plain forms"
    if arguments == ["runs"]:
        assert "x failed" in text
        assert ("gr\\xf6\\xdfer >= 1" if encoding == "ascii" else "größer >= 1") in text
    if "side" in arguments:
        assert ("zo\\xeb" if encoding == "ascii" else "zoë") in text


@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
    ids=str,
)
def test_a_process_whose_output_is_ascii_works(store: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        [FOURFOLD, "status", "--store", str(store)], capture_output=True, check=True, env={**os.environ, **environment}
    )
    assert b"* ok" in done.stdout or b"x failed" in done.stdout
    assert done.stderr == b""


@pytest.mark.parametrize("command", ["skew", "fold", "demo", "metrics"])
def test_help_is_ascii(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert run(capsys, None, command, "--help")[1].isascii()


def test_json_is_json_whatever_the_output_can_hold(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for encoding in ("ascii", "utf-8"):
        found = json.loads(
            here(monkeypatch, store, "metrics", "late", "recall", "--by", "side", "--json", encoding=encoding)
        )
        assert [row["side"] for row in found["rows"]] == ["r", "zoë"]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("width", [40, 60, 80])
def test_each_screen_stays_within_its_width(
    store: Path, arguments: list[str], width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = here(monkeypatch, store, *arguments, width=width).splitlines()
    assert max(map(cell_len, lines)) <= width


def test_at_forty_columns_no_number_is_cut(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments in (["status"], ["streams", "predict"], ["metrics", "late", "recall", "--every", "1d"]):
        narrow, broad = (
            set(re.findall(r"(?<![\w.])\d[\d.,]*", here(monkeypatch, store, *arguments, width=width)))
            for width in (40, 200)
        )
        assert narrow == broad


def drawn(grid: Grid, width: int) -> list[str]:
    out = Screen(file=io.StringIO(), width=width)
    out.print(grid)
    return [line.rstrip() for line in out.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def a_grid(names: tuple[str, str] = ("one", "two")) -> Grid:
    grid = Grid("name", right("records"), spare("code"), wide("reads"))
    grid.add_row(names[0], "12,345", "57132c8e", "a frame with a long name")
    grid.add_row(names[1], "7", "57132c8e", "–")
    return grid


def test_a_table_that_fits_is_one_table() -> None:
    assert drawn(a_grid(), 60) == [
        "name  records  code      reads",
        "one    12,345  57132c8e  a frame with a long name",
        "two         7  57132c8e  –",
    ]


def test_long_texts_wrap_and_then_spare_columns_are_left_out_with_a_note() -> None:
    assert drawn(a_grid(), 30) == [
        "name  records  reads",
        "one    12,345  a frame with a",
        "               long name",
        "two         7  –",
        "too narrow for code",
    ]


def test_a_table_that_does_not_fit_is_laid_out_in_parts_that_repeat_its_keys() -> None:
    assert drawn(a_grid(), 20) == [
        "name  records",
        "one    12,345",
        "two         7",
        "",
        "name  code",
        "one   57132c8e",
        "two   57132c8e",
        "",
        "name  reads",
        "one   a frame with a",
        "      long name",
        "two   –",
    ]


def test_rows_that_their_keys_do_not_tell_apart_become_blocks() -> None:
    assert drawn(a_grid(("one", "one")), 22)[:7] == [
        "one",
        "  records  12,345",
        "  code     57132c8e",
        "  reads    a frame",
        "           with a long",
        "           name",
        "",
    ]


def test_what_is_cut_says_so() -> None:
    grid = Grid("name", right("n"))
    grid.add_row("a_name_that_is_longer_than_the_screen", "12,345")
    assert drawn(grid, 20) == ["a_name_tha…he_screen", "  n  12,345"]


@pytest.mark.parametrize(
    "text", ["\x1b[31m", "\n", "\r", "\t", "\x7f", "\x9b2J", "\u202e", "\u2066", "\ud800", "\u2028"]
)
def test_what_acts_on_a_screen_is_written_out(text: str) -> None:
    found = visible(f"a{text}b")
    assert found.isprintable()
    assert found == "a" + text.encode("unicode_escape").decode() + "b"
    assert Words.assemble(("x", "bold"), f"a{text}b").plain == "x" + found


def test_letters_of_any_language_stay() -> None:
    for text in ("größer", "日本語", "می\u200cخواهم", "👩\u200d🔬"):
        assert visible(text, "utf-8") == text


def test_names_values_keys_and_errors_never_act_on_the_screen(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    ff.task("late", prediction=f"{HOSTILE}.score", label="arrivals.late", slices=[HOSTILE])
    ff.log(HOSTILE, key=HOSTILE, **{"score": 0.9, HOSTILE: HOSTILE})
    ff.log("arrivals", key=HOSTILE, late=True)
    ff.log("arrivals", key=HOSTILE + "2", late=True)
    with pytest.raises(ValueError, match="no"), ff.run(HOSTILE):
        raise ValueError("no " + HOSTILE.replace("\n", ""))
    ff.flush()
    shown = ""
    for arguments in (
        ["status"], ["runs"], ["streams"], ["streams", HOSTILE], ["metrics"],
        ["metrics", "late", "recall", "--by", HOSTILE], ["trace", HOSTILE], ["doctor"],
        ["compare", f"{HOSTILE}={HOSTILE}", f"{HOSTILE}=b"], ["skew", HOSTILE, "arrivals"],
        ["skew", HOSTILE, "arrivals", "--by-key"], ["fold"], ["streams", "nope"], ["metrics", HOSTILE, "nope"],
    ):  # fmt: skip
        for more in ([], ["--json"]):
            _, out, err = run(capsys, session, *arguments, *more)
            assert not ACTS.search(out + err), arguments
            shown += out
    assert "\\x1b[31mred" in shown
    assert "\\u202etxt.exe" in shown


@pytest.mark.parametrize("arguments", [["streams"], ["status", "--json"], ["fold"]], ids=" ".join)
def test_a_reader_that_has_seen_enough_is_no_failure(store: Path, arguments: list[str]) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    command = [FOURFOLD, *arguments, "--store", str(store)]
    done = subprocess.run(command, stdout=writes, stderr=subprocess.PIPE)
    os.close(writes)
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_interrupt_ends_a_command_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], session: Session
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    ff.log("p", key=1, v=1)
    ff.flush()
    monkeypatch.setattr("fourfold.cli.streams.streams", interrupted)
    assert run(capsys, session, "streams") == (130, "", "")


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), sa.exc.OperationalError("select", {}, Exception("database is locked"))],
    ids=lambda error: type(error).__name__,
)
def test_a_disk_that_fails_is_one_line_and_exit_code_3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], session: Session, error: Exception
) -> None:
    def fails(*_: object) -> None:
        raise error

    ff.log("p", key=1, v=1)
    ff.flush()
    monkeypatch.setattr("fourfold.cli.streams.streams", fails)
    code, out, err = run(capsys, session, "streams")
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert "No space left" in err or "database is locked" in err


def test_fold_every_counts_again_and_again_until_it_is_ended(tmp_path: Path) -> None:
    command = [FOURFOLD, "fold", "--every", "1s", "--json", "--store", str(tmp_path / "store")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as sidecar:
        assert sidecar.stdout is not None
        assert sidecar.stderr is not None
        try:
            assert "there is no store at" in sidecar.stderr.readline(), "not yet"
            session = ff.init(tmp_path / "store", "test")
            for key in ("a", "b"):
                ff.log("p", key=key, v=1)
                ff.flush()
                while any((tmp_path / "store" / "inbox").iterdir()):  # until it was taken
                    assert json.loads(sidecar.stdout.readline())["rows"][0]["done"]
            sidecar.send_signal(signal.SIGTERM)
            assert sidecar.wait(20) == 0
            assert sidecar.stderr.read() == ""
            assert not session.store.writer.pending()
            assert ff.metric("p", "rows").value.value == 2.0
            session.close()
        finally:
            sidecar.kill()


@pytest.mark.parametrize("every", ["5", "0m", "often", "5d", "-1s"])
def test_fold_every_takes_a_length_of_time(capsys: pytest.CaptureFixture[str], every: str) -> None:
    code, out, err = run(capsys, None, "fold", f"--every={every}")
    assert (code, out) == (2, "")
    assert repr(every) in err
