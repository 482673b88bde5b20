"""The programme of drills: what is promised to be tried, how often, what was, and what must be tried again."""
