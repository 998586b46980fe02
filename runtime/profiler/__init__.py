"""The profiler: what a bundle costs on this machine, by MLPerf's single-stream protocol, with every sample kept."""

from __future__ import annotations

from .measure import ProfileOptions, profile
from .record import Profile, load_profiles, save_profiles
from .stream import Limits

__all__ = ["Limits", "Profile", "ProfileOptions", "load_profiles", "profile", "save_profiles"]
