"""The device actors: one per device, each with a small `.brake` on its own path; the last guard of that device."""
