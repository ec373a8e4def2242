"""The page: a thin web app in its own process, which asks through the gateway's client and renders."""
