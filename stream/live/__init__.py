"""What every live stream shares: newest frames only, a frame-time budget, settings that may change."""
