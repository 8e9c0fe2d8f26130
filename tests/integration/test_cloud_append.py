"""What an append to the data set costs, and that any number of appenders finish."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from cloud.dataset import layout
from cloud.dataset.manifest import Appended, append, make_line, parse
from edge_agent.clock import SystemClock
from edge_agent.segment import SegmentName
from edge_agent.store import ObjectStore
from edge_agent.store.directory import DirectoryStore
from tests.support.clock import FakeClock
from tests.support.memory_store import Told

A_VIDEO = 60  # lines: a minute at one frame a second


def block(name: SegmentName) -> list[str]:
    frames = (layout.frame_key(name, index * 30) for index in range(A_VIDEO))
    return [make_line(f"s3://bucket/{key}", name.tag.as_dict()) for key in frames]


def a_name(device: int, minute: int) -> SegmentName:
    return SegmentName.parse(f"blue_box_dock{device}-cam1-20261122T14{minute:02d}05123Z")


def cost_of_an_append(root: Path, lines: int) -> tuple[list[str], int]:
    """The calls and the bytes read of an append to a data set of *lines* lines: ten videos to a device and day."""
    root.mkdir()
    store, devices = DirectoryStore(root), max(1, lines // (10 * A_VIDEO))
    for device in range(devices):
        text = "".join(f"{line}\n" for minute in range(10) for line in block(a_name(device, minute)))
        path = root / layout.partition_key(a_name(device, 0))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    calls: list[str] = []
    read = 0

    def around(call: str, make: Callable[[], Any]) -> Any:
        nonlocal read
        calls.append(call)
        made = make()
        read += len(made.body) if call == "get" else 0
        return made

    name = a_name(devices // 2, 30)
    told = cast("ObjectStore", Told(store, around))
    assert append(told, layout.partition_key(name), name.stem, block(name), FakeClock()) is Appended.WRITTEN
    return calls, read // 1000


def test_an_append_costs_the_same_however_large_the_data_set(tmp_path: Path) -> None:
    """At 1,000 and at 200,000 lines it is one read and one write of one partition, of the same size."""
    small, large = cost_of_an_append(tmp_path / "small", 1_000), cost_of_an_append(tmp_path / "large", 200_000)
    assert small == (["get", "put_if_match"], small[1])
    assert abs(large[1] - small[1]) <= small[1] // 10
    assert large[0] == small[0]


def append_one(root: Path, stem: str) -> None:
    name = SegmentName.parse(stem)
    append(DirectoryStore(root), "manifests/p.manifest", stem, block(name), SystemClock())


def test_thirty_two_processes_append_to_one_partition(directory_store: DirectoryStore) -> None:
    """Every process's block is there once, and the bytes are those of one after the other."""
    root, names = directory_store.root, [a_name(7, minute) for minute in range(32)]
    fork = multiprocessing.get_context("fork")  # 32 interpreters would take most of a minute to start
    processes = [fork.Process(target=append_one, args=(root, name.stem)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 32
    for name in names:
        append(directory_store, "manifests/q.manifest", name.stem, block(name), FakeClock())
    found = directory_store.get("manifests/p.manifest").body
    assert found == directory_store.get("manifests/q.manifest").body
    assert len(parse(found, "p")) == 32 * A_VIDEO
