package h2

// IdleConns returns how many connections are kept on which no call has come.
func IdleConns(p *Peer) int {
	p.idle.mu.Lock()
	defer p.idle.mu.Unlock()
	return len(p.idle.conns)
}
