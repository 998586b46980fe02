"""Courses that several tests look at: made once a process, half a second each."""

from __future__ import annotations

from functools import cache

from helmsight.runtime.sim.course import make_course

course_of = cache(make_course)
