import threading
import time

from helmsight.runtime.slot import Slot


def test_newest_overwrites_and_counts() -> None:
    slot: Slot[int] = Slot(keep_every=False)
    for i in range(5):
        slot.put(i)
    assert slot.get() == 4
    assert slot.overwritten == 4


def test_keep_every_waits_for_the_taker() -> None:
    slot: Slot[int] = Slot(keep_every=True)
    thread = threading.Thread(target=lambda: [slot.put(i) for i in range(100)] and slot.close())
    thread.start()
    taken = []
    while (item := slot.get()) is not None:
        taken.append(item)
    thread.join(5)
    assert taken == list(range(100))
    assert slot.overwritten == 0
    assert slot.finished


def test_get_times_out_with_none() -> None:
    slot: Slot[int] = Slot(keep_every=True)
    before = time.perf_counter()
    assert slot.get(timeout_s=0.02) is None
    assert time.perf_counter() - before >= 0.02
    assert not slot.finished


def test_the_last_item_survives_close_but_not_abandon() -> None:
    slot: Slot[int] = Slot(keep_every=False)
    slot.put(1)
    slot.close()
    assert not slot.finished
    assert slot.get() == 1
    assert slot.finished
    slot = Slot(keep_every=False)
    slot.put(1)
    slot.abandon()
    assert slot.get() is None


def test_abandon_frees_a_waiting_putter() -> None:
    slot: Slot[int] = Slot(keep_every=True)
    slot.put(1)
    thread = threading.Thread(target=slot.put, args=(2,))
    thread.start()
    slot.abandon()
    thread.join(5)
    assert not thread.is_alive()
