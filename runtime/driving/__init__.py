"""From what the network sees to what the robot does: the local planner, routes to a goal, and the pilot over both."""
