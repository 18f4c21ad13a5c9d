"""Reporting is the way back: what the link hears and planning decides, as resources that the API shows."""
