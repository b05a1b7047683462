package probe

// hasUnix and hasPeerCred say what a plugin has on this system.
const (
	hasUnix     = false
	hasPeerCred = false
)

// leadsSession reports nothing: there are no sessions.
func leadsSession() (leads, known bool) { return false, false }

// endGroup does nothing: a Job object ends the group.
func endGroup() {}

// inspectPipes does nothing: a plugin inherits no descriptors.
func inspectPipes(*Offer) []string { return nil }
