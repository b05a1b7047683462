package self

// LeadGroup does nothing: a host binds what its plugins start to its own life by a Job
// object, or does not.
func LeadGroup() error { return nil }
