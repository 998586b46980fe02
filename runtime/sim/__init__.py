"""The simulator: indoor courses, a robot in them, and an expert that sees the map."""
