"""Image analysis: the pure functions that turn raw frames into calibrated images, magnitudes and candidates."""
