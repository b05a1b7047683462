package h2

// IdleConns returns how many connections are kept on which no call has come.
func IdleConns(s *Server) int {
	s.idle.mu.Lock()
	defer s.idle.mu.Unlock()
	return len(s.idle.conns)
}
