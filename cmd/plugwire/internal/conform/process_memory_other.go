//go:build !linux && !darwin

package conform

// PeakMemory returns nothing: this system does not tell about processes that have ended.
func (p *Process) PeakMemory() (bytes int64, known bool) { return 0, false }
