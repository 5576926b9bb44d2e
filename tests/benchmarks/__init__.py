"""Figures are worth what their instruments are: these hold the instruments to their word."""
