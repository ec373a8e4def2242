"""Night times, device health, and the safety verdict."""
