"""From a notice's bytes to a request: the alert manager's actors and the pure modules they call.

`voevent` reads bytes, `streams` says what they mean for each mission, `verdict` says whether that is of interest,
`association` whether it is known already, `strategy` what to observe; `vtp` is one of the transports.
"""
