"""Occupancy grid and visual odometry from what the navigation network sees."""
