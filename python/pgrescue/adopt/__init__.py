"""`pgrescue init`: an inventory for a cluster that is there already."""
