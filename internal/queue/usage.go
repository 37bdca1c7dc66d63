package queue

import "time"

// Usage says where the storage of a queue is, what it takes and what is left.
type Usage struct {
	// Dir is the directory of an engine that has files of its own.
	Dir string `json:"directory,omitempty"`
	// Server is the database server of an engine that uses one, nil for others.
	Server *Server `json:"server,omitempty"`
	// Bytes is how much it takes, Free what is left on its file system, -1 if
	// that is not known.
	Bytes int64 `json:"bytes"`
	Free  int64 `json:"free"`
}

// Server is what an administrator should know of the database server that holds a
// queue. What could not be read, because the server cannot be reached or for want of a
// right, is empty. It holds no secret.
type Server struct {
	// Host is the server that is written to, as host:port or as the directory of its
	// socket. While none can be reached it names all that are configured, separated by
	// commas.
	Host     string `json:"host"`
	Database string `json:"database"`
	// Schema is the part of the database that holds the queue.
	Schema string `json:"schema"`
	// Version is the name and version of the server's program.
	Version string `json:"version,omitempty"`
	// Standbys names, as the server does, the standbys that an event is on before Put
	// returns. Empty means that it is on this server alone.
	Standbys string `json:"synchronous_standbys,omitempty"`
	// Oldest is the transaction that has been open longest, if that is more than a
	// minute. While it is open, the server cannot clear away what is done, and the queue
	// gets slower. Only those are seen that the queue's user may see.
	Oldest *OpenTransaction `json:"oldest_transaction,omitempty"`
	// Backup and Restore are the commands with which an administrator copies the storage
	// and puts the copy back, where the engine is no Backuper.
	Backup  string `json:"backup,omitempty"`
	Restore string `json:"restore,omitempty"`
}

// OpenTransaction is a transaction that is open on a database server.
type OpenTransaction struct {
	Since time.Time `json:"since"`
	// By says which program and user has it open, and from where.
	By string `json:"by"`
}
