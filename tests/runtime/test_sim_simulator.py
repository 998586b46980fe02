"""What needs OpenGL: pictures, depth, driving, and the simulator as a source."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from helmsight.devices.errors import CameraUnavailable, MissingExtra, UsageError
from helmsight.runtime.mapping.geometry import FloorView
from helmsight.runtime.mapping.geometry import Pose as MapPose
from helmsight.runtime.results import Command, Stop
from helmsight.runtime.sim.course import make_course
from helmsight.runtime.sim.furnish import wall_spots
from helmsight.runtime.sim.looks import Surface
from helmsight.runtime.sim.robot import RADIUS_M, Pose
from helmsight.runtime.sim.rugs import Rug
from helmsight.runtime.sim.simulator import Simulator, SimulatorOptions
from helmsight.runtime.sim.world import free_ahead_m
from helmsight.runtime.sources import CameraGeometry, Robot, open_source, simulator
from helmsight.runtime.sources.simulator import SimulatorSource, parse_address

if find_spec("miniworld") is None:
    pytest.skip("miniworld is not installed (helmsight[sim])", allow_module_level=True)
HW = (60, 80)
LEVEL = CameraGeometry(fov_y_deg=80.0, height_m=0.3, pitch_deg=0.0)
FREE = np.ones((36, 48), np.float32)


@pytest.fixture(scope="module")
def corridor():
    return make_course("corridor", 1)


@pytest.fixture(scope="module")
def simulated(corridor):
    try:
        made = Simulator(corridor, options=SimulatorOptions(LEVEL))
    except MissingExtra as error:
        pytest.skip(str(error))
    yield made
    made.close()


def test_a_picture_has_the_size_asked_for_and_is_the_callers(simulated):
    simulated.reset()
    first = simulated.render(HW)
    kept = first.copy()
    simulated.step(1.0, 1.0, 0.5)
    second = simulated.render(HW)
    assert first.shape == (*HW, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, kept)
    assert not np.array_equal(first, second)
    assert simulated.render((30, 40)).shape == (30, 40, 3)


def test_free_space_is_below_the_horizon_and_touches_the_robot(simulated):
    simulated.reset()
    simulated.render(HW)
    mask = simulated.free_space_mask()
    assert mask.shape == HW
    assert not mask[: HW[0] // 2].any()  # a level camera has its horizon in the middle row
    assert mask[-1, HW[1] // 2]
    assert 0.1 < mask.mean() < 0.5


def test_free_space_ends_where_geometry_says(simulated, corridor):
    """A wall at distance d hides the floor above the row that looks down at height / d."""
    for x, y, facing in wall_spots(list(corridor.rects), 2.0):
        ahead = np.array([np.cos(facing), np.sin(facing)])
        if free_ahead_m(np.array([x, y]) + ahead, facing + np.pi, 0.01, corridor.solids, 1.0) > 0.95:
            break
    simulated.place(Pose(x + ahead[0], y + ahead[1], facing + np.pi))
    simulated.render((240, 320))
    column = simulated.free_space_mask()[:, 160]
    focal = 120 / np.tan(np.radians(40))
    expected = 120 + focal * LEVEL.height_m / 1.0
    assert np.flatnonzero(column)[0] == pytest.approx(expected, abs=10)


def test_a_rug_is_seen_and_is_floor(corridor, simulated):
    rug = Rug(*corridor.line[20], 0.3, 1.0, 0.6, Surface("white_1", (0.0, 0.0, 0.0)))
    with Simulator(replace(corridor, rugs=(rug,)), options=SimulatorOptions(LEVEL)) as other:
        pictures, masks = [], []
        for simulator in (simulated, other):
            simulator.place(simulator.pose_on_line(0))
            pictures.append(simulator.render(HW).astype(int))
            masks.append(simulator.drivable_mask())
    seen = np.abs(pictures[0] - pictures[1]).max(2) > 20
    assert seen.mean() > 0.02
    assert masks[1][seen].all()
    assert (masks[0] == masks[1]).mean() > 0.999


def test_the_way_on_is_floor_around_the_line_ahead(simulated, corridor):
    simulated.place(simulated.pose_on_line(40))
    simulated.render(HW)
    floor = simulated.drivable_mask()
    way = simulated.way_mask(floor)
    assert 0.2 < way.sum() / floor.sum() < 0.9
    assert not (way & ~floor).any()
    here = simulated.pose
    view = FloorView(LEVEL, HW)
    ahead = MapPose(here.x, here.y, here.heading_rad).inverse().to_world(corridor.line[40 + 14 : 40 + 30])
    columns, rows = view.to_pixels(ahead).round().astype(int).T
    assert way[rows, columns].all()
    simulated.place(replace(here, heading_rad=here.heading_rad + np.pi))
    simulated.render(HW)
    assert not simulated.way_mask(simulated.drivable_mask()).any()


def test_driving_into_a_wall_is_a_collision_and_stops_there(simulated, corridor):
    simulated.reset()
    for _ in range(400):
        simulated.step(0.0, 1.0, 0.1)
    assert simulated.collided
    before = simulated.pose
    farther = simulated.progress_m + 0.5
    simulated.put_back(farther)
    assert not simulated.collided
    assert simulated.pose != before
    assert abs(simulated.lateral_deviation_m) < 0.03
    assert simulated.progress_m == farther


def test_progress_and_deviation_follow_the_line(simulated):
    simulated.reset()
    start = simulated.pose
    assert abs(simulated.lateral_deviation_m) < 0.03
    left = Pose(start.x - 0.2 * np.sin(start.heading_rad), start.y + 0.2 * np.cos(start.heading_rad), start.heading_rad)
    simulated.place(left)
    assert simulated.lateral_deviation_m == pytest.approx(0.2, abs=0.05)
    simulated.reset()
    for _ in range(10):
        simulated.step(0.0, 1.0, 0.05)
    assert simulated.progress_m == pytest.approx(0.3, abs=0.11)


def test_after_close_it_draws_no_more(corridor, simulated):
    other = Simulator(corridor)
    other.close()
    other.close()
    with pytest.raises(RuntimeError, match="closed"):
        other.render(HW)


def test_one_simulator_after_another_takes_no_more_memory(simulated):
    def resident_mb():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    course, used = make_course("corridor", 1003), []
    for _ in range(10):
        with Simulator(course, 1) as another:
            another.render((36, 48))
        used.append(resident_mb())
    assert used[-1] - used[2] < 10  # the textures of one are 10 MB and more


def test_each_thread_can_have_a_simulator_of_its_own(corridor, simulated):
    pictures = {}

    def draw(name):
        with Simulator(corridor, options=SimulatorOptions(LEVEL)) as mine:
            pictures[name] = mine.render(HW)

    threads = [threading.Thread(target=draw, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
        thread.join()
    simulated.reset()
    here = simulated.render(HW).astype(int)
    for name in range(2):
        assert np.abs(pictures[name].astype(int) - here).mean() < 2


def test_an_expert_drives_a_source_to_the_number_of_frames(simulated):
    with open_source("sim://corridor?seed=2&driver=expert&frames=12&size=80x60") as source:
        assert isinstance(source, Robot)
        assert source.live is False
        frames = list(source)
    assert [f.index for f in frames] == list(range(12))
    assert frames[0].image.shape == (60, 80, 3)
    account = source.drive_summary()
    assert account["end"] == "frames"
    assert account["collisions"] == 0
    assert account["distance_m"] == pytest.approx(12 / 20 * 0.6, abs=0.11)


def _commanded(commands):
    poses = []
    with SimulatorSource("sim://corridor?seed=2&size=80x60&frames=40") as source:
        for command in commands:
            frame = source.read()
            poses.append(source._simulator.pose)
            threading.Timer(0.01, source.command, (command, frame.index)).start()
        source.read()
        poses.append(source._simulator.pose)
    return poses


def test_lock_step_waits_for_each_command_and_repeats_exactly(simulated):
    commands = [Command(0.5, 1.0), Command(-1.0, 0.5), Stop("test"), Command(0.0, 1.0)]
    poses = _commanded(commands)
    assert poses == _commanded(commands)
    assert poses[1].heading_rad > poses[0].heading_rad
    assert poses[3] == poses[2]
    assert poses[4] != poses[3]


def test_lock_step_without_commands_ends_with_one_clear_line(simulated, monkeypatch):
    monkeypatch.setattr(simulator, "COMMAND_TIMEOUT_S", 0.05)
    with SimulatorSource("sim://corridor?seed=2&size=80x60") as source:
        source.read()
        with pytest.raises(CameraUnavailable, match="no command for frame 0") as caught:
            source.read()
    assert "\n" not in str(caught.value)


def test_a_collision_ends_a_drive(simulated):
    with SimulatorSource("sim://corridor?seed=2&size=80x60&fps=5") as source:
        count = 0
        while (frame := source.read()) is not None:
            source.command(Command(0.0, 1.0), frame.index)
            count += 1
    assert source.drive_summary()["end"] == "collision"
    assert count < 400


def test_a_robot_that_gets_nowhere_ends_a_drive_that_has_no_other_end(simulated):
    for frames, end in ((0, "stuck"), (40, "frames")):
        with SimulatorSource(f"sim://corridor?seed=2&size=80x60&fps=1&frames={frames}") as source:
            count = 0
            while (frame := source.read()) is not None:
                source.command(Command(0.0, 1.0) if count == 20 else Stop("no way"), frame.index)
                count += 1
        assert source.drive_summary()["end"] == end
        assert count == (frames or 21 + 31), "30 s from when it moved"


def test_real_time_keeps_its_pace_and_stands_still_without_commands(simulated):
    with SimulatorSource("sim://corridor?seed=2&size=80x60&pace=realtime&fps=25&frames=10") as source:
        assert source.live
        frames = [source.read() for _ in range(8)]
        assert source.drive_summary()["distance_m"] == 0
    assert (frames[-1].captured_ns - frames[1].captured_ns) / 1e9 > 5 / 25


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("sim://office?seed=x", "seed is 'x'"),
        ("sim://office?speed=3", "speed is unknown"),
        ("sim://office?pace=fast", "pace is 'fast'"),
        ("sim://office?driver=me", "driver is 'me'"),
        ("sim://office?size=640", "size is '640'"),
        ("sim://office?frames=-1", "frames is '-1'"),
        ("sim://office?blocks=0", "blocks is '0'; expected a whole number from 1 to 30"),
        ("sim://office?blocks=", "blocks is ''"),
    ],
)
def test_an_address_that_cannot_be_meant_says_what_is_wrong(uri, says):
    with pytest.raises(UsageError, match=says):
        parse_address(uri)


def test_an_address_can_say_how_long_a_course_is():
    assert parse_address("sim://office?seed=3").blocks is None
    with SimulatorSource("sim://corridor?seed=2&size=80x60&blocks=1&driver=expert") as source:
        source.read()
    assert source.drive_summary()["lap_m"] < 10


def test_the_real_camera_may_be_askew_and_the_light_dim(corridor):
    def seen(**options):
        with Simulator(corridor, options=SimulatorOptions(LEVEL, **options)) as simulator:
            image = simulator.render(HW)
            return image, simulator.free_space_mask(), simulator.geometry

    level, tilted, dim = seen(), seen(pitch_offset_deg=10.0), seen(light=0.5)
    assert level[2] == tilted[2] == LEVEL  # what the robot believes
    # 10 degrees at 80 degrees over 60 rows lift the floor by about 6 rows, and its mask with it.
    assert np.flatnonzero(level[1][:, 40])[0] - np.flatnonzero(tilted[1][:, 40])[0] == pytest.approx(6, abs=2)
    assert dim[0].mean() == pytest.approx(0.5 * level[0].mean(), rel=0.1)
    assert np.array_equal(level[1], dim[1])
    with pytest.raises(UsageError, match="light 0"):
        Simulator(corridor, options=SimulatorOptions(light=0.0))


def test_a_dropped_box_and_a_moving_thing_are_seen_where_they_stand():
    course = next(c for c in (make_course("office", seed) for seed in range(1000, 1100, 2)) if c.movers)
    with Simulator(course) as simulator:
        mover = course.movers[0]
        start, end = (
            mover.at(-mover.phase_s),
            mover.at(-mover.phase_s + mover.wait_s + np.hypot(*mover.way) / mover.speed_mps),
        )
        assert (start.x, start.y) != (end.x, end.y)
        for standing in (-mover.phase_s, 0.0):
            simulator._set_time(standing)
            assert simulator.course.obstacles[len(course.obstacles)] == mover.at(standing)
        simulator.reset()
        before, mask = simulator.render(HW), simulator.free_space_mask()
        simulator.drop()
        assert np.abs(simulator.render(HW).astype(int) - before).max() > 10
        assert mask.sum() > simulator.free_space_mask().sum() + 20


def test_geometry_is_known_before_opening():
    source = SimulatorSource("sim://office?seed=3")
    assert source.geometry == make_course("office", 3).look.camera


@pytest.mark.slow
def test_a_machine_without_egl_is_told_what_to_install():
    script = (
        "import ctypes.util as u; find = u.find_library\n"
        "u.find_library = lambda name: None if 'EGL' in name else find(name)\n"
        "import ctypes; real = ctypes.CDLL.__init__\n"
        "def load(self, name, *a, **k):\n"
        "    if name and 'EGL' in str(name): raise OSError('no ' + str(name))\n"
        "    real(self, name, *a, **k)\n"
        "ctypes.CDLL.__init__ = load\n"
        "from helmsight.runtime.sim.course import make_course\n"
        "from helmsight.runtime.sim.simulator import Simulator\n"
        "from helmsight.devices.errors import MissingExtra\n"
        "try: Simulator(make_course('corridor', 1))\n"
        "except MissingExtra as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=os.environ, check=False)
    assert "libegl1" in done.stdout, done.stderr
    assert len(done.stdout.strip().splitlines()) == 1


def test_the_robot_is_as_wide_as_its_radius_says(corridor, simulated):
    simulated.place(Pose(*corridor.line[0], 0.0))
    assert not simulated.collided
    wall = corridor.solids[0]
    simulated.place(Pose((wall[0] + wall[2]) / 2 + RADIUS_M / 2, (wall[1] + wall[3]) / 2, 0.0))
    assert simulated.collided
