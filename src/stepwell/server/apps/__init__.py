"""Apps that are served over HTTP: finding them, and asking them which functions they have."""
