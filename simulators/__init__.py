"""The simulated observatory: device models that are functions of the clock, and the protocol servers before them.

Nothing here imports PyROS beyond its clock: frames and ephemerides come from astropy's own library, so that an error
of ours does not cancel itself.
"""
