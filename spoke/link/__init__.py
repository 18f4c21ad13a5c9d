"""The spoke's end of the link: joining the fleet, and one stream that brings the newest bundle and takes the status."""

from spoke.link.answers import Handler
from spoke.link.client import LinkClient
from spoke.link.enrol import enrol
from spoke.link.feed import StatusFeed

__all__ = ["Handler", "LinkClient", "StatusFeed", "enrol"]
