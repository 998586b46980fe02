import json
import re

import pytest
from typer.testing import CliRunner

from helmsight.cli.main import app
from helmsight.devices.device import catalog
from helmsight.devices.errors import UsageError


def output(*arguments: str, columns: int = 200) -> str:
    result = CliRunner(env={"COLUMNS": str(columns), "NO_COLOR": "1"}).invoke(app, ["devices", *arguments])
    assert result.exit_code == 0, result.exception
    assert result.stderr == ""
    return result.stdout


def test_the_table_has_every_device_once_and_what_serves_it() -> None:
    text = output()
    for d in catalog():
        (line,) = (x for x in text.splitlines() if x.split()[:1] == [d.id])
        assert line.split()[-1] == d.served_by.key
    assert "works: run and measured; ran: a part of it ran on such hardware; built: " in text
    assert "~: from a source that repeats others" in text


@pytest.mark.parametrize(
    ("device", "cells"),
    [
        ("jetson-tk1", ["sm_32~", "0.327~", "-", "2~", "14.9~", "15~", "192~"]),
        ("jetson-nano", ["sm_53", "0.236", "0.472", "4~", "25.6~", "10~", "99~"]),
        ("dgx-1-p100", ["8x", "sm_60", "10.6", "21.2", "16", "732", "3,500~", "129,000~"]),
        ("t4", ["sm_75?", "8.1?", "65?", "16?", "320?", "-", "-"]),
        ("rpi4b", ["none", "0.048?", "-", "4?", "12.8?", "-", "-"]),
    ],
)
def test_a_figure_that_is_not_verified_is_marked(device: str, cells: list[str]) -> None:
    (line,) = (x for x in output().splitlines() if x.split()[:1] == [device])
    assert line.split()[1:-1] == cells


def test_one_device_has_the_source_and_the_confidence_of_each_figure() -> None:
    text = output("tk1")
    assert text.startswith("Jetson TK1 (jetson-tk1)\n")
    assert "works today: nothing" in text
    rows = {cells[0]: cells for cells in (re.split(r"\s{2,}", x.strip()) for x in text.splitlines()) if len(cells) == 4}
    assert rows["gpu.cuda_cores"][1:3] == ["192", "secondary"]
    assert rows["price.usd_high"][1:3] == ["199.99", "memory"]
    for group_name, group in catalog()[0].groups().items():
        for figure in group.known():
            source = rows[f"{group_name}.{figure}"][3]
            assert f"{source} {group.origin_of(figure).source}\n" in text


def test_json_is_the_same_record() -> None:
    everything = json.loads(output("--json"))["devices"]
    assert [d["id"] for d in everything] == [d.id for d in catalog()]
    one = json.loads(output("dgx-1", "--json"))
    assert one == next(d for d in everything if d["id"] == "dgx-1-p100")
    assert one["price"]["usd"]["value"] == 129_000
    assert one["price"]["usd"]["confidence"] == "secondary"
    assert one["served_by"]["state"] == "written"


def test_an_unknown_name_is_a_usage_error() -> None:
    result = CliRunner().invoke(app, ["devices", "jetson-tk2"])
    assert isinstance(result.exception, UsageError)
    assert "did you mean" in str(result.exception)
