"""The catalogue of boards, what board this is, its sensors, and the errors every layer shares."""
