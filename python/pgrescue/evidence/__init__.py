"""The evidence pack of a run: what an auditor asks for beside the record, its seal, and how it is verified offline."""
