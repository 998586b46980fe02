"""The profiler: what a bundle costs on this machine, by MLPerf's protocol or at a camera's pace, every sample kept."""

from __future__ import annotations

from .measure import ProfileOptions, profile
from .record import Profile, load_profiles, save_profiles
from .scenario import Scenario
from .stream import Limits

__all__ = ["Limits", "Profile", "ProfileOptions", "Scenario", "load_profiles", "profile", "save_profiles"]
