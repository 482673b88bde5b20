"""A drill: its scenario and checklist, its fault, what is seen of it, and how its rules judge the record."""
