"""What is told to people when a service fails, through which channel, and who is told when nobody answers."""
