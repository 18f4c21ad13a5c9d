"""Real servers on loopback that tests, the end-to-end suite and the demo fetch from: Git over http and over ssh."""
