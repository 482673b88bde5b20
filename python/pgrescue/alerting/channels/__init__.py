"""One file a kind of channel: the options that it takes, and how a message is put into its words and sent."""
