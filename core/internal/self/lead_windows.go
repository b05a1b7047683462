package self

// LeadGroup does nothing. A host may bind the processes that its plugins start to its own
// life by a Job object.
func LeadGroup() error { return nil }
