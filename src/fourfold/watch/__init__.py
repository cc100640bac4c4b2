"""Judges: objectives, limits that set themselves, and the incidents that come of both."""
