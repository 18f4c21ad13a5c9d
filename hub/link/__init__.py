"""The hub's end of the link: who may connect, and one stream per cluster that brings it to its newest desired root."""
