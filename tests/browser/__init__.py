"""The page in a real Chromium, against a real server: what a person sees, hears and presses."""
